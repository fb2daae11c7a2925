"""How well a run speaks: python -m benchmarks.wavenet_speech RUN results/wavenet/NAME [--acoustic LSTM_RUN]

Held-out recordings, whose texts are not in training, said again by the network from what the recording tells (its
phones, or its frames), from what an acoustic model says at the recording's own times, and from the text alone; and
sentences that are in no corpus. Each beside the recording or eSpeak NG's sound, and beside Griffin-Lim from the same
frames. Writes speech.json, and some of the sounds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.hearing import Judge, Sound
from benchmarks.machine import write
from benchmarks.recogniser import words
from benchmarks.sentences import NEW, UNSEEN
from trainkit.compiled_sound import librosa
from trainkit.errors import UserError
from trainkit.runs import open_run
from trainkit.speech.acoustic import AcousticModel, open_acoustic
from trainkit.speech.aligned import normalised
from trainkit.speech.espeak import synthesize
from trainkit.speech.frames import frames_of_file, joined
from trainkit.speech.griffin_lim import griffin_lim
from trainkit.speech.spoken import LANGUAGES
from wavenet import checkpoint
from wavenet.config import FRAMED, WaveNetConfig
from wavenet.corpus import Corpus, Recording, load_corpus
from wavenet.features import Features, features
from wavenet.generate import resynthesise
from wavenet.model import WaveNet
from wavenet.speaking import Manner, Speaker
from wavenet.voice import Draws

FEWEST_WORDS = 4  # of a held-out text: one word alone is a lottery
PLAYED = 3  # sounds of each kind that are kept
Figures = dict[str, Any]
Ways = dict[str, Callable[[Recording], Sound]]


@dataclass
class Trial:
    """A run under trial, and what it is judged with."""

    run: Path
    folder: Path
    acoustic: str | None
    language: str
    voice: str
    temperature: float

    def __post_init__(self) -> None:
        self.config, self.model = checkpoint.load_model(self.run)
        self.corpus = load_corpus(self.config.data, checkpoint.known(self.run))
        self.says: AcousticModel | None = None if self.acoustic is None else open_acoustic(self.acoustic)
        self.speaker = cache(self._speaker)

    def _speaker(self, name: str | None) -> Speaker:
        manner = Manner(language=self.language, voice=self.voice, speaker=name, acoustic=self.acoustic)
        return Speaker(self.run, manner, Draws(temperature=self.temperature, seed=1), print)

    def keep(self, kind: str, sounds: Sequence[Sound]) -> None:
        """The first of them as files."""
        for i, sound in enumerate(sounds[:PLAYED]):
            name = kind.replace(" ", "_").replace(",", "").replace("'", "")
            soundfile.write(self.folder / f"{self.language}-{name}-{i}.flac", sound, self.config.data.sample_rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--acoustic", help="a run of apex-lstm train speech")
    parser.add_argument("--languages", default="en", help="that the network has learned, with a comma")
    parser.add_argument("--voice", default="f1", help="of eSpeak NG, to be compared with")
    parser.add_argument("--temperature", type=float, default=0.9)
    parser.add_argument("--files", type=int, default=30, help="held-out recordings of each language, at the most")
    arguments = parser.parse_args()
    folder, found = arguments.folder, dict[str, Figures]()
    folder.mkdir(parents=True, exist_ok=True)
    for language in arguments.languages.split(","):
        a = arguments
        trial = Trial(open_run(a.run), folder, a.acoustic, language, a.voice, a.temperature)
        found[f"held-out recordings, {language}"] = held_out(trial, a.files)
        texts = NEW if language == "en" else UNSEEN[language]
        found[f"{len(texts)} new sentences, {language}"] = new(trial, texts)
    write(folder / "speech.json", {**found, "temperature": arguments.temperature})
    print(json.dumps(found, indent=1))


def held_out(trial: Trial, most: int) -> Figures:
    """Figures by the way in which the sounds were made, of held-out recordings with texts of their own."""
    chosen = _chosen(trial.config, trial.corpus, trial.language)[:most]
    if len(chosen) < 2:
        raise UserError(f"no two held-out recordings in {trial.language!r} have a text of {FEWEST_WORDS} words")
    judge = Judge([r.text for r in chosen], trial.config.data.frames, trial.language == "en")
    references, found = [r.sound for r in chosen], Figures()
    found["recordings"] = judge(references)
    for way, makes in _ways(trial).items():
        print(f"{trial.language}: {way}", flush=True)
        sounds = [makes(r) for r in chosen]
        found[way] = judge(sounds, references, at_their_times="the text" not in way)
        trial.keep(way, sounds)
    trial.keep("recordings", references)
    return found


def _chosen(config: WaveNetConfig, corpus: Corpus, language: str) -> list[Recording]:
    """Held-out recordings that can be judged by their words, one of each text."""
    found = dict[str, Recording]()
    for r in corpus.validation:
        facts = json.loads(_path(config, r).with_suffix(".json").read_text(encoding="utf-8"))
        # Digits are spoken as words that a text with digits does not have.
        enough = len(words(r.text)) >= FEWEST_WORDS or language != "en"
        if facts.get("language", "en") == language and enough and not any(c.isdigit() for c in r.text):
            found.setdefault(normalised(r.text), r)
    return list(found.values())


def _path(config: WaveNetConfig, recording: Recording) -> Path:
    return Path(config.data.folder) / recording.name


def _ways(trial: Trial) -> Ways:
    """All ways to make the sound of a held-out recording again, by name."""
    config, model, phones = trial.config, trial.model, trial.corpus.phones
    conditions, settings = config.data.conditions, config.data.frames

    def own_frames(r: Recording) -> Sound:
        return _cut(griffin_lim(frames_of_file(_path(config, r), settings)), r)

    ways: Ways = {"Griffin-Lim, the recording's frames": own_frames}
    ways[f"WaveNet, the recording's {conditions}"] = _by_network(trial, model, features(config, phones))
    says = trial.says
    if says is None:
        ways["WaveNet, the text alone"] = lambda r: _spoken(trial.speaker(_name(trial, r)), r.text)
        return ways
    said_features = features(config, phones, said=True) if conditions in FRAMED else None

    def resaid(r: Recording) -> Recording:
        return replace(r, said_frames=says.resay(_path(config, r), _name(trial, r) if says.speakers else None))

    sound_said = _by_network(trial, model, said_features)
    ways["Griffin-Lim, the acoustic model's frames"] = lambda r: _cut(griffin_lim(_some(resaid(r).said_frames)), r)
    ways["WaveNet, the acoustic model's frames"] = lambda r: sound_said(resaid(r))
    ways["Griffin-Lim, the text alone"] = lambda r: griffin_lim(
        joined(list(says.speak(r.text, trial.language, _name(trial, r) if says.speakers else None)))
    )
    ways["WaveNet, the text alone"] = lambda r: _spoken(trial.speaker(_name(trial, r)), r.text)
    return ways


def _by_network(trial: Trial, model: WaveNet, frames_of: Features | None) -> Callable[[Recording], Sound]:
    return lambda r: resynthesise(model, frames_of, r, len(r.samples), temperature=trial.temperature)


def _name(trial: Trial, recording: Recording) -> str | None:
    return trial.corpus.speakers[recording.speaker] if trial.corpus.speakers else None


def _cut(sound: Sound, recording: Recording) -> Sound:
    return sound[: len(recording.samples)]


def _some(value: Any) -> Any:
    assert value is not None
    return value


def _spoken(speaker: Speaker, text: str) -> Sound:
    return np.concatenate(list(speaker.says(text)))


def new(trial: Trial, texts: Sequence[str]) -> Figures:
    """Figures of sentences in no corpus, beside eSpeak NG's; and how fast the first and all of the sound is there."""
    rate, found = trial.config.data.sample_rate, Figures()
    judge = Judge(texts, trial.config.data.frames, trial.language == "en")
    espeak = [synthesize(text, LANGUAGES[trial.language], trial.voice) for text in texts]
    references = [librosa.resample(said.sound, orig_sr=said.rate, target_sr=rate) for said in espeak]
    found["eSpeak NG"] = judge(references)
    if trial.says is not None:
        says = trial.says
        sounds = [griffin_lim(joined(list(says.speak(text, trial.language)))) for text in texts]
        found["Griffin-Lim"] = judge(sounds, references)
        trial.keep("new Griffin-Lim", sounds)
    speaker = trial.speaker(None)
    _spoken(speaker, texts[-1])  # what is loaded and compiled at first is not of a sentence
    made = [_timed(speaker.says(text), rate) for text in texts]
    found["WaveNet"] = judge([sound for sound, _, _ in made], references)
    trial.keep("new WaveNet", [sound for sound, _, _ in made])
    factors, firsts = [factor for _, factor, _ in made], [first for _, _, first in made]
    found["WaveNet, times real time"] = {"slowest": min(factors), "median": float(np.median(factors))}
    found["WaveNet, seconds until its first sound"] = {"slowest": max(firsts), "median": float(np.median(firsts))}
    return found


def _timed(chunks: Iterable[Sound], rate: int) -> tuple[Sound, float, float]:
    """(sound, how much of it is made in its own time, seconds until the first of it)."""
    started, first, parts = time.monotonic(), 0.0, list[Sound]()
    for chunk in chunks:
        first = first or time.monotonic() - started
        parts.append(chunk)
    took = time.monotonic() - started
    sound = np.concatenate(parts)
    return sound, len(sound) / rate / took, first


if __name__ == "__main__":
    main()
