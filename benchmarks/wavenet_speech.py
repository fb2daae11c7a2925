"""How well a run trained on phones speaks: python -m benchmarks.wavenet_speech RUN results/wavenet/NAME

Held-out recordings said again by the network, and sentences that are in no corpus: mel-cepstral distance to the same
sentence and to another one, and the words that PocketSphinx understands, beside those it understands of the recordings
and of eSpeak NG. Writes speech.json, and one sentence of each language as sound and picture.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.machine import write
from benchmarks.recogniser import Recogniser, accuracy, words
from benchmarks.sentences import UNSEEN
from trainkit.runs import open_run
from trainkit.speech.cepstra import distance
from trainkit.speech.espeak import synthesize
from trainkit.speech.spoken import LANGUAGES
from wavenet import checkpoint
from wavenet.corpus import load_corpus
from wavenet.evaluation import distances
from wavenet.features import features
from wavenet.generate import resynthesise
from wavenet.speaking import Request, speak_to

FILES = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--languages", default="en", help="that the network has learned, with a comma")
    parser.add_argument("--voice", default="f1")
    parser.add_argument("--temperature", type=float, default=0.9)
    arguments = parser.parse_args()
    run, folder = open_run(arguments.run), arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    recogniser, temperature = Recogniser(), arguments.temperature
    request = Request(temperature=temperature, seed=1)
    found: dict[str, Any] = {
        f"{FILES} held-out files said again: mel-cepstral distance, dB": distances(run, FILES, temperature),
        "word accuracy on held-out English": _held_out_words(run, recogniser, temperature),
    }
    for language in arguments.languages.split(","):
        name = f"{len(UNSEEN[language])} unseen sentences, {language}"
        found[name] = _unseen(run, language, arguments.voice, recogniser, request)
        speak_to(run, UNSEEN[language][1], language, arguments.voice, request, str(folder / f"{language}.flac"))
    found["temperature"] = temperature
    write(folder / "speech.json", found)
    print(json.dumps(found, indent=1))


def _held_out_words(run: Path, recogniser: Recogniser, temperature: float) -> dict[str, float]:
    """Of the recordings themselves, and of what the network makes of their phones and times."""
    config, model = checkpoint.load_model(run)
    corpus = load_corpus(config.data)
    made = features(config, corpus.phones)
    rate, real, again = config.data.sample_rate, [], []
    for recording in corpus.validation:
        facts = json.loads((Path(config.data.folder) / recording.name).with_suffix(".json").read_text())
        said = words(facts["text"])
        # Digits are spoken as words that a text with digits does not have.
        if facts.get("language", "en") != "en" or len(said) < 4 or any(c.isdigit() for c in facts["text"]):
            continue
        real.append((said, recogniser(recording.sound, rate)))
        sound = resynthesise(model, made, recording, len(recording.samples), temperature=temperature)
        again.append((said, recogniser(sound, rate)))
        if len(real) == FILES:
            break
    return {"files": len(real), "recordings": accuracy(real), "network": accuracy(again)}


def _unseen(run: Path, language: str, voice: str, recogniser: Recogniser, request: Request) -> dict[str, float]:
    """As the network speaks them beside eSpeak NG, whose phones and times it is given."""
    espeak = [synthesize(text, LANGUAGES[language], voice) for text in UNSEEN[language]]
    network, rate = [], 0
    with tempfile.TemporaryDirectory() as place:
        for i, text in enumerate(UNSEEN[language]):
            file = str(Path(place) / f"{i}.wav")
            speak_to(run, text, language, voice, request, file)
            sound, rate = soundfile.read(file, dtype="float32")
            network.append(sound)
    reference = [_resampled(said.sound, said.rate, rate) for said in espeak]
    pairs = list(zip(network, reference, [*reference[1:], reference[0]], strict=True))
    found = {
        "distance to eSpeak NG's same sentence, dB": float(np.mean([distance(a, b, rate) for a, b, _ in pairs])),
        "distance to another sentence of it, dB": float(np.mean([distance(a, c, rate) for a, _, c in pairs])),
    }
    if language == "en":
        texts = [words(text) for text in UNSEEN[language]]
        for name, sounds in (("eSpeak NG", reference), ("network", network)):
            found[f"word accuracy, {name}"] = accuracy(
                [(said, recogniser(sound, rate)) for said, sound in zip(texts, sounds, strict=True)]
            )
    return found


def _resampled(sound: Any, rate: int, wanted: int) -> Any:
    import librosa

    return librosa.resample(sound, orig_sr=rate, target_sr=wanted)


if __name__ == "__main__":
    main()
