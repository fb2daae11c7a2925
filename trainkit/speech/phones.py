"""Phonemes with their times as frames for the local condition, and the file beside a recording that holds them.

`NAME.json` beside `NAME.wav`:

    {"text": "Hello, world", "language": "en", "seconds": 1.66, "phones": [[0.011, "h"], [0.062, "@"], ...],
     "words": [[4, ","], [4, "."]]}

with the number of phones of each word, and the mark behind it; "_" is a pause, and not counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainkit.sound import UnusableError

PAUSE = "_"
EXTRA = 3  # features beside the two one-hot vectors: stress, place within the phone, logarithm of its length
UNKNOWN = -1


@dataclass(frozen=True)
class Timeline:
    """A recording's phones."""

    names: tuple[str, ...]
    stressed: npt.NDArray[np.bool_]  # [P]
    starts: npt.NDArray[np.float64]  # [P], seconds
    end: float


def bare(name: str) -> str:
    """A phone without its stress mark; all kinds of pause are one."""
    return PAUSE if name.startswith("_") else name.lstrip("',") or PAUSE


def timeline(phones: Iterable[tuple[float, str]], seconds: float) -> Timeline:
    """From (start, name as eSpeak NG writes it)."""
    found = list(phones)
    names = tuple(bare(name) for _, name in found)
    stressed = np.array([name.startswith("'") for _, name in found])
    return Timeline(names, stressed, np.array([start for start, _ in found]), seconds)


def read_timeline(path: Path) -> Timeline:
    """Of the file beside a recording. UnusableError, with what is wrong, when it is missing or not of this kind."""
    with reading(path):
        held: Any = json.loads(path.read_text(encoding="utf-8"))
        return timeline(times(held, path), float(held["seconds"]))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What goes wrong in reading such a file, as an UnusableError that says it."""
    try:
        yield
    except FileNotFoundError:
        raise UnusableError(f"has no {path.name} with its phones beside it") from None
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UnusableError(f"has phones in {path.name} that can't be read ({error})") from None


def times(held: Any, path: Path) -> list[tuple[float, str]]:
    """(start, name) of each phone and pause of a file's object. UnusableError when there are none, or out of order."""
    found = [(float(start), str(name)) for start, name in held["phones"]]
    if not found or any(after < before for (before, _), (after, _) in pairwise(found)):
        raise UnusableError(f"has phones in {path.name} that are none, or out of order")
    return found


class PhoneFeatures:
    """Frames of a vocabulary: the phone now and the next one, one-hot, then stress, place and length."""

    def __init__(self, vocabulary: Sequence[str], frame_s: float) -> None:
        self._numbers = {name: i for i, name in enumerate(vocabulary)}
        self._frame_s = frame_s
        self.size = 2 * len(vocabulary) + EXTRA

    def __call__(self, line: Timeline, first: int, count: int) -> npt.NDArray[np.float32]:
        """Frames first .. first + count - 1, [count, size]; those before the beginning and after the end are zeros."""
        size = len(self._numbers)
        frames = np.zeros((count, self.size), np.float32)
        middles = (np.arange(first, first + count) + 0.5) * self._frame_s
        inside = np.flatnonzero((middles >= 0) & (middles < line.end))
        # Before the first phone it is the first phone's turn already: sound has a moment to begin.
        now = np.clip(np.searchsorted(line.starts, middles[inside], side="right") - 1, 0, None)
        numbers = np.array([self._numbers.get(name, UNKNOWN) for name in (*line.names, PAUSE)])
        for column, which in ((0, numbers[now]), (size, numbers[now + 1])):
            known = which != UNKNOWN
            frames[inside[known], column + which[known]] = 1
        ends = np.append(line.starts[1:], line.end)
        lengths = np.maximum(ends - line.starts, 1e-3)
        frames[inside, 2 * size] = line.stressed[now]
        frames[inside, 2 * size + 1] = np.clip((middles[inside] - line.starts[now]) / lengths[now], 0, 1)
        frames[inside, 2 * size + 2] = np.log(lengths[now])
        return frames


def vocabulary(lines: Iterable[Timeline]) -> list[str]:
    """All names, the pause among them."""
    return sorted({PAUSE, *(name for line in lines for name in line.names)})
