"""Tokens of speech as numbers: what a phone or a boundary is, where it stands, and who says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trainkit.speech.phones import PAUSE
from trainkit.speech.spoken import BEGIN, COMMA, EXCLAMATION, QUESTION, STOP, Token

Floats = npt.NDArray[np.float32]
KINDS = (BEGIN, COMMA, STOP, QUESTION, EXCLAMATION)  # of boundaries; mere ends of words are none of them
STRESSES = 2
PLACES = 6
TENTH = 0.1  # counts are tenths


class PhoneInputs:
    """Numbers of a token: one of the vocabulary, whose first is the boundary; stress; kind of boundary; place; language
    and speaker.

    What was not learned (a phone, a language, a speaker) is zeros.
    """

    def __init__(self, vocabulary: Sequence[str], languages: Sequence[str], speakers: Sequence[str]) -> None:
        self.vocabulary = (PAUSE, *(name for name in vocabulary if name != PAUSE))
        self.languages, self.speakers = tuple(languages), tuple(speakers)
        names = (self.vocabulary, range(STRESSES), KINDS, range(PLACES), self.languages, self.speakers)
        self._starts = np.cumsum([0, *(len(some) for some in names)])
        self.size = int(self._starts[-1])

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> PhoneInputs:
        """From what `plain` gave."""
        return cls(plain["vocabulary"], plain["languages"], plain["speakers"])

    def plain(self) -> dict[str, Sequence[str]]:
        """As values for JSON."""
        return {"vocabulary": self.vocabulary, "languages": self.languages, "speakers": self.speakers}

    def __call__(self, tokens: Sequence[Token], language: str, speaker: str) -> Floats:
        """[K, size]."""
        phones, stresses, kinds, places, languages, speakers, _ = self._starts
        numbers = np.zeros((len(tokens), self.size), np.float32)
        for row, token in zip(numbers, tokens, strict=True):
            if token.name in self.vocabulary:
                row[phones + self.vocabulary.index(token.name)] = 1
            if token.stress:
                row[stresses + token.stress - 1] = 1
            if token.boundary and token.mark in KINDS:
                row[kinds + KINDS.index(token.mark)] = 1
        numbers[:, places : places + PLACES] = _places(tokens)
        if language in self.languages:
            numbers[:, languages + self.languages.index(language)] = 1
        if speaker in self.speakers:
            numbers[:, speakers + self.speakers.index(speaker)] = 1
        return numbers


def _places(tokens: Sequence[Token]) -> Floats:
    """[K, PLACES]: phones before and after in the word, words before and after in the phrase, each in tenths; the part
    of the sentence that is over, and the logarithm of its tokens.
    """
    count = len(tokens)
    word = np.cumsum([0, *(token.boundary for token in tokens[:-1])])  # that a token is of; a boundary: the one before
    marks = [i for i, token in enumerate(tokens) if token.boundary and token.mark]
    found = np.zeros((count, PLACES), np.float32)
    for i, token in enumerate(tokens):
        before = word[max((m for m in marks if m < i), default=0)]
        after = word[min((m for m in marks if m >= i), default=count - 1)]
        left = max(token.length - 1 - token.place, 0)
        found[i, :4] = TENTH * np.array([token.place, left, word[i] - before, after - word[i]])
    found[:, 4] = (np.arange(count) + 0.5) / count
    found[:, 5] = np.log(count) * TENTH
    return found
