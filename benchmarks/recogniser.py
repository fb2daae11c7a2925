"""How many words of sound a speech recogniser understands: PocketSphinx with its own English model and dictionary.

With its own language model, or with a closed grammar: then it has only to tell which of some sentences it heard.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from trainkit.compiled_sound import librosa
from trainkit.speech.alignment import CMU, VOICE
from trainkit.speech.espeak import synthesize
from trainkit.speech.phones import PAUSE, bare

RATE = 16_000


class Recogniser:
    """One decoder for many utterances."""

    def __init__(self, sentences: Sequence[list[str]] = ()) -> None:
        """`sentences`: the words of each that may be heard, and nothing else; none: anything."""
        from pocketsphinx import Decoder

        self._decoder: Any = Decoder(loglevel="FATAL", **({"lm": None} if sentences else {}))
        if not sentences:
            return
        for word in sorted({word for sentence in sentences for word in sentence}):
            if self._decoder.lookup_word(word) is None:
                self._decoder.add_word(word, _pronounced(word), True)
        choices = " | ".join(" ".join(sentence) for sentence in sentences)
        self._decoder.add_jsgf_string("closed", f"#JSGF V1.0; grammar closed; public <sentence> = {choices};")
        self._decoder.activate_search("closed")

    def __call__(self, sound: np.ndarray[Any, np.dtype[np.float32]], rate: int) -> list[str]:
        """The words heard in samples [N]."""
        heard = librosa.resample(np.asarray(sound, np.float32), orig_sr=rate, target_sr=RATE)
        self._decoder.start_utt()
        self._decoder.process_raw(np.round(heard * 32_767).astype(np.int16).tobytes(), full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return words(found.hypstr) if found else []


def _pronounced(word: str) -> str:
    """As eSpeak NG says it, in the recogniser's phones."""
    names = [bare(name) for _, name in synthesize(word, VOICE).phones]
    return " ".join(filter(None, (CMU[name] for name in names if name != PAUSE)))


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


def recognised(pairs: list[tuple[list[str], list[str]]]) -> float:
    """The part of (said, heard) in which all words are those that were said, in their order."""
    return sum(said == heard for said, heard in pairs) / len(pairs)
