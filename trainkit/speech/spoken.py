"""What is said, as a model of speech is told it: phones, where words end, and the punctuation there.

A token is a phone, or the boundary after a word (and one before the first), which may be a pause: how long one lasts
in a recording, nothing at most boundaries, is for a model to learn.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from trainkit.speech.espeak import Utterance, synthesize
from trainkit.speech.phones import PAUSE, bare

LANGUAGES = {"en": "en-us", "ja": "ja"}  # eSpeak NG's name of each
# Kinds of boundary. Each mark of punctuation counts as one of them.
BEGIN, NOTHING, COMMA, STOP, QUESTION, EXCLAMATION = "^", "", ",", ".", "?", "!"
MARKS = {
    **dict.fromkeys(",;:-–—、；：", COMMA),
    **dict.fromkeys(".。…", STOP),
    **dict.fromkeys("?？", QUESTION),
    **dict.fromkeys("!！", EXCLAMATION),
}
STRESS = {"'": 1, ",": 2}  # primary, secondary


@dataclass(frozen=True)
class Token:
    """A phone, or a boundary."""

    name: str  # a phone as eSpeak NG calls it, without its stress; PAUSE for a boundary
    stress: int = 0  # 1 primary, 2 secondary
    mark: str = NOTHING  # of a boundary: one of the kinds above
    place: int = 0  # of a phone in its word, from 0
    length: int = 0  # of its word, in phones

    @property
    def boundary(self) -> bool:
        return not self.length


def tokens(words: Sequence[tuple[Sequence[str], str]]) -> list[Token]:
    """Of words: the phones of each, with stress marks, and the kind of boundary after it."""
    found = [Token(PAUSE, mark=BEGIN)]
    for phones, mark in words:
        for place, name in enumerate(phones):
            found.append(Token(bare(name), STRESS.get(name[:1], 0), place=place, length=len(phones)))
        found.append(Token(PAUSE, mark=mark))
    return found


def words_of(utterance: Utterance) -> list[tuple[list[str], str]]:
    """What `tokens` takes, of what eSpeak NG said: without its pauses, with the marks at which it makes them.

    A text that ends without a mark ends with a full stop.
    """
    pairs = [(word, name) for word, (_, name) in zip(utterance.words, utterance.phones, strict=True)]
    said = [(word, name) for word, name in pairs if bare(name) != PAUSE]
    groups = [(word, [name for _, name in some]) for word, some in groupby(said, lambda pair: pair[0])]
    marks = [NOTHING] * (len(groups) - 1) + [STOP]
    firsts = [word for word, _ in groups]
    for word, characters in utterance.ends.items():
        mark = next((MARKS[c] for c in reversed(characters) if c in MARKS), NOTHING)
        at = bisect_right(firsts, word) - 1  # a clause's last word, by eSpeak's count, may have no phone of its own
        if mark and at >= 0:
            marks[at] = mark
    return [(names, mark) for (_, names), mark in zip(groups, marks, strict=True)]


def spoken(text: str, language: str) -> list[Token]:
    """Tokens of a text in one of LANGUAGES, as eSpeak NG reads it. UnsayableError where there is nothing to say."""
    return tokens(words_of(synthesize(text, LANGUAGES[language])))
