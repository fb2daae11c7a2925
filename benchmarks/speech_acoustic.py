"""How well the LSTM's frames can be understood: python -m benchmarks.speech_acoustic PROMPTS results/lstm/speech/NAME

PROMPTS from benchmarks.prompts. Trains the preset `speech` for --minutes on one core (or takes --run RUN), and measures
on the recordings of held-out texts, of which none is in training: errors of F0, voicing, durations and spectrum beside
a linear map and means; and, all sounded by Griffin-Lim, the words that PocketSphinx understands, with its own language
model and with a closed grammar of the sentences: of the recordings, of their true frames, of the network's frames at
the recordings' times and at its own, of the linear map's, and of twenty sentences in no corpus beside eSpeak NG's own
sound. Where the corpus is of other languages too, distances to eSpeak NG's sound. Writes speech.json, the curve's
numbers, a sentence of each language as sound, and a picture of frames.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from matplotlib.figure import Figure

from benchmarks.machine import write
from benchmarks.recogniser import Recogniser, accuracy, recognised, words
from benchmarks.sentences import NEW, UNSEEN
from lstm import checkpoint
from lstm.config import PRESETS
from lstm.speaking import Acoustic
from lstm.speech_scores import Says, simpler, speech_scores
from lstm.tasks.make import make_task
from lstm.tasks.speech import Speech
from lstm.train import train_here
from trainkit.compiled_sound import librosa
from trainkit.config import to_yaml
from trainkit.run_record import record_start
from trainkit.runs import create_run, open_run
from trainkit.speech.aligned import Recording
from trainkit.speech.cepstra import distance
from trainkit.speech.espeak import synthesize
from trainkit.speech.frames import Frames, joined
from trainkit.speech.griffin_lim import griffin_lim
from trainkit.speech.spoken import LANGUAGES

Sound = npt.NDArray[np.float32]
FEWEST_WORDS = 4  # of a held-out text: less is no sentence
MOST_FILES = 60
HELD_OUT = 0.2  # of the texts: most are a word or two, and too few would be left that can be understood


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=8.0, help="of training, on one core")
    parser.add_argument("--run", help="that was trained before, instead")
    parser.add_argument("settings", nargs="*", help="KEY=VALUE, of training")
    arguments = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    held = f"speech.validation_fraction={HELD_OUT}"
    given = [f"speech.folder={arguments.recordings.absolute()}", held, *arguments.settings]
    run = open_run(arguments.run) if arguments.run else _trained(given, arguments.minutes)
    config, model = checkpoint.load_config_of(run), Acoustic(run)
    task = make_task(config, checkpoint.facts(run))
    assert isinstance(task, Speech)
    found: dict[str, Any] = {
        "corpus": task.describe()[-1],
        "held-out texts": speech_scores(model.network, task),
        "updates": json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"],
    }
    linear = simpler(task)["linear map"]
    if heard := [r for r in task.corpus.validation if _can_be_heard(r)][:MOST_FILES]:
        found |= _words_of_recordings(model, task, linear, heard)
    for language in model.languages:
        found |= _words_of_new(model) if language == "en" else {}
        found[f"{len(UNSEEN[language])} new sentences, {language}"] = _distances(model, language)
        sound = griffin_lim(joined(list(model.speak(UNSEEN[language][1], language))))
        soundfile.write(folder / f"{language}.flac", sound, model.settings.sample_rate)
    shown = max(task.corpus.validation, key=lambda r: min(r.count, 400))
    _picture(model, task, linear, shown).savefig(folder / "frames.png", dpi=70)
    shutil.copy(run / "metrics.jsonl", folder / "metrics.jsonl")
    (folder / "config.yaml").write_text(to_yaml(config.model_copy(update={"runs_dir": "runs"})))
    write(folder / "speech.json", found)
    print(json.dumps(found, indent=1))


def _trained(given: Sequence[str], minutes: float) -> Path:
    words = [f"training.stop_after_s={60 * minutes}", "training.steps=100000", "training.validate_every_steps=500"]
    config = PRESETS.load("speech", [*words, *given]).config
    run = create_run(config.runs_dir, config.name, to_yaml(config))
    record_start(run, PRESETS.trainer)
    train_here(config, run, lambda row: print(json.dumps(row), flush=True))
    return run


def _can_be_heard(recording: Recording) -> bool:
    """Digits are spoken as words that a text with digits does not have."""
    text = recording.aligned.text
    return recording.aligned.language == "en" and len(words(text)) >= FEWEST_WORDS and not any(map(str.isdigit, text))


def _words_of_recordings(
    model: Acoustic, task: Speech, linear: Says, held: Sequence[Recording]
) -> dict[str, dict[str, dict[str, float]]]:
    ways: dict[str, Callable[[Recording], Sound]] = {
        "recordings": lambda r: librosa.load(r.path, sr=r.settings.sample_rate)[0],
        "true frames": lambda r: griffin_lim(r.frames()),
        "LSTM at the recordings' times": lambda r: griffin_lim(model.resay(r.path, r.speaker or None)),
        "LSTM": lambda r: griffin_lim(joined(list(model.speak(r.aligned.text, "en", r.speaker or None)))),
        "linear map at the recordings' times": lambda r: griffin_lim(_linear_frames(task, linear, r)),
    }
    texts = [words(r.aligned.text) for r in held]
    heard = {name: [way(r) for r in held] for name, way in ways.items()}
    return {f"{len(held)} held-out recordings": _understood(texts, heard, task.config.frames.sample_rate)}


def _words_of_new(model: Acoustic) -> dict[str, dict[str, dict[str, float]]]:
    rate = model.settings.sample_rate
    heard = {
        "LSTM": [griffin_lim(joined(list(model.speak(text)))) for text in NEW],
        "eSpeak NG": [_espeak(text, "en", rate) for text in NEW],
    }
    return {f"{len(NEW)} new sentences": _understood([words(text) for text in NEW], heard, rate)}


def _understood(
    texts: Sequence[list[str]], heard: Mapping[str, Sequence[Sound]], rate: int
) -> dict[str, dict[str, float]]:
    free, closed = Recogniser(), Recogniser(texts)
    found: dict[str, dict[str, float]] = {}
    for name, sounds in heard.items():
        openly = [(text, free(sound, rate)) for text, sound in zip(texts, sounds, strict=True)]
        among = [(text, closed(sound, rate)) for text, sound in zip(texts, sounds, strict=True)]
        found[name] = {"words": accuracy(openly), "sentences, closed grammar": recognised(among)}
        print(name, found[name], flush=True)
    return found


def _distances(model: Acoustic, language: str) -> dict[str, float]:
    """To eSpeak NG's sound, which a voice that learned from it is to be near to."""
    rate, texts = model.settings.sample_rate, UNSEEN[language]
    said = [griffin_lim(joined(list(model.speak(text, language)))) for text in texts]
    espeak = [_espeak(text, language, rate) for text in texts]
    return {
        "distance to eSpeak NG's same sentence, dB": float(
            np.mean([distance(a, b, rate) for a, b in zip(said, espeak, strict=True)])
        ),
        "distance to another sentence of it, dB": float(
            np.mean([distance(a, b, rate) for a, b in zip(said, [*espeak[1:], espeak[0]], strict=True)])
        ),
    }


def _espeak(text: str, language: str, rate: int) -> Sound:
    said = synthesize(text, LANGUAGES[language])
    return np.asarray(librosa.resample(said.sound, orig_sr=said.rate, target_sr=rate), np.float32)


def _linear_frames(task: Speech, linear: Says, recording: Recording) -> Frames:
    return task.scale.restored(linear(recording)[0].astype(np.float32), recording.settings)


def _picture(model: Acoustic, task: Speech, linear: Says, recording: Recording) -> Figure:
    """Mel and F0 of a held-out recording, of the network's at its times, and of the linear map's."""
    shown = {
        "recording": recording.frames(),
        "LSTM": model.resay(recording.path, recording.speaker or None),
        "linear map": _linear_frames(task, linear, recording),
    }
    figure = Figure(figsize=(9, 7), layout="constrained")
    hop = recording.settings.frame_s
    for axes, (name, frames) in zip(figure.subplots(len(shown), sharex=True), shown.items(), strict=True):
        end = len(frames) * hop
        axes.imshow(frames.mel.T, origin="lower", aspect="auto", extent=(0, end, 0, frames.settings.bands))
        pitch = axes.twinx()
        pitch.plot((np.arange(len(frames)) + 0.5) * hop, np.where(frames.voiced, np.exp(frames.log_f0), np.nan), "w")
        pitch.set(ylabel="F0, Hz", ylim=(0, 500))
        axes.set(ylabel="mel band", title=name)
    axes.set_xlabel(f"s: {recording.aligned.text}"[:110])
    return figure


if __name__ == "__main__":
    main()
