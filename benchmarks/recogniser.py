"""How many words of sound a speech recogniser understands: PocketSphinx with its own English model and dictionary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import librosa
import numpy as np

from trainkit.speech.alignment import CMU
from trainkit.speech.espeak import synthesize
from trainkit.speech.phones import bare

RATE = 16_000
CLOSED = "closed"
Sound = np.ndarray[Any, np.dtype[np.float32]]


class Recogniser:
    """One decoder for many utterances: with its own language model, or with a grammar of sentences that there are."""

    def __init__(self) -> None:
        from pocketsphinx import Decoder

        self._decoder: Any = Decoder(loglevel="FATAL")
        self._grammar: tuple[str, ...] = ()

    def __call__(self, sound: Sound, rate: int) -> list[str]:
        """The words heard in samples [N]."""
        return self._heard(None, sound, rate)

    def which(self, sound: Sound, rate: int, sentences: Sequence[str]) -> str | None:
        """The one of some sentences that is heard in samples [N]; None where none of them is."""
        by_words = {" ".join(words(sentence)): sentence for sentence in sentences}
        if tuple(by_words) != self._grammar:
            self._learn(by_words)
            self._grammar = tuple(by_words)
            rule = " | ".join(by_words)
            self._decoder.add_jsgf_string(CLOSED, f"#JSGF V1.0; grammar {CLOSED}; public <sentence> = {rule};")
        return by_words.get(" ".join(self._heard(CLOSED, sound, rate)))

    def _learn(self, sentences: Iterable[str]) -> None:
        """Words that its dictionary lacks, as eSpeak NG says them."""
        for word in sorted({word for sentence in sentences for word in sentence.split()}):
            if self._decoder.lookup_word(word) is None:
                said = [bare(name) for _, name in synthesize(word, "en-us").phones]
                self._decoder.add_word(word, " ".join(filter(None, (CMU.get(name, "") for name in said))), True)

    def _heard(self, search: str | None, sound: Sound, rate: int) -> list[str]:
        heard = librosa.resample(np.asarray(sound, np.float32), orig_sr=rate, target_sr=RATE)
        self._decoder.activate_search(search)
        self._decoder.start_utt()
        self._decoder.process_raw(np.round(heard * 32_767).astype(np.int16).tobytes(), full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return words(found.hypstr) if found else []


def words(text: str) -> list[str]:
    """In lower case, without punctuation."""
    return re.findall(r"[a-z']+", text.lower())


def errors(said: list[str], heard: list[str]) -> int:
    """Words to put in, take out or replace to make one of the other (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        before, row = row, [i]
        for j, other in enumerate(heard, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (word != other)))
    return row[-1]


def accuracy(pairs: list[tuple[list[str], list[str]]]) -> float:
    """1 - errors / words over (said, heard) of many utterances; below 0 where more is heard than was said."""
    return 1 - sum(errors(said, heard) for said, heard in pairs) / sum(len(said) for said, _ in pairs)
