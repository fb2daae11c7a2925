"""How many words of sound a speech recogniser understands: PocketSphinx with its own English model and dictionary."""

from __future__ import annotations

import re
from typing import Any

import librosa
import numpy as np

RATE = 16_000


class Recogniser:
    """One decoder for many utterances."""

    def __init__(self) -> None:
        from pocketsphinx import Decoder

        self._decoder: Any = Decoder(loglevel="FATAL")

    def __call__(self, sound: np.ndarray[Any, np.dtype[np.float32]], rate: int) -> list[str]:
        """The words heard in samples [N]."""
        heard = librosa.resample(np.asarray(sound, np.float32), orig_sr=rate, target_sr=RATE)
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
