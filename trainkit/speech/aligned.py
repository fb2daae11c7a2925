"""A folder of recordings whose phones and their times are known, as a corpus of frames, split by text.

Recordings of one text, however often and by whom it is read, are on one side of the split: what is held out was
never learned as a text. Frames stay in the cache (`frames_of_file`) and are read when they are needed.
"""

from __future__ import annotations

import json
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainkit.errors import UserError
from trainkit.sound import SUFFIXES, UnusableError
from trainkit.speech.frame_settings import FrameSettings
from trainkit.speech.frames import Frames, frames_of_file
from trainkit.speech.phones import PAUSE, bare, reading, times
from trainkit.speech.spoken import LANGUAGES, Token, tokens
from trainkit.words import Say, printable, quiet

FARTHEST_S = 0.1  # that the file of phones may be longer or shorter than the recording


@dataclass(frozen=True)
class Aligned:
    """What is said in a recording, and when."""

    text: str
    language: str
    seconds: float
    tokens: tuple[Token, ...]
    ends: npt.NDArray[np.float64]  # [K] of each token, in seconds; a boundary without a pause ends where it begins

    def durations(self, frames: int, frame_s: float) -> npt.NDArray[np.int64]:
        """Of each token in whole frames, [K]: `frames` in all. A frame is of the token that its middle is in."""
        ends = np.clip(np.ceil(self.ends / frame_s - 0.5 - 1e-9), 0, frames).astype(np.int64)
        ends[-1] = frames
        return np.diff(ends, prepend=0)


def read_aligned(recording: Path) -> Aligned:
    """Of the .json beside a recording. UnusableError, with what is wrong, when it is missing or not of this kind."""
    path = recording.with_suffix(".json")
    with reading(path):
        held: Any = json.loads(path.read_text(encoding="utf-8"))
        seconds, named = float(held["seconds"]), times(held, path)
        text, language = str(held["text"]), str(held.get("language", "en"))
        if "words" not in held:
            raise UnusableError(f"has no words in {path.name}: make it anew by apex-wavenet data align or data speech")
        words = [(int(count), str(mark)) for count, mark in held["words"]]
    if language not in LANGUAGES:
        raise UnusableError(f"has the language {language!r} in {path.name}; expected one of {', '.join(LANGUAGES)}")
    said = [i for i, (_, name) in enumerate(named) if bare(name) != PAUSE]
    if sum(count for count, _ in words) != len(said) or any(count < 1 for count, _ in words):
        raise UnusableError(f"has {len(said)} phones in {path.name}, which its words do not add up to")
    lasts = [end - 1 for end in accumulate(count for count, _ in words)]
    starts = [start for start, _ in named]
    ends = [starts[said[0]]]  # of the boundary before the first word
    for i, place in enumerate(said):
        following = starts[said[i + 1]] if i + 1 < len(said) else seconds
        if i in lasts:  # then what follows at once may be a pause, which is of the boundary
            ends += [starts[place + 1] if place + 1 < len(named) else seconds, following]
        else:
            ends.append(following)
    phones = [named[i][1] for i in said]
    firsts = [last + 1 - count for last, (count, _) in zip(lasts, words, strict=True)]
    grouped = [(phones[f : f + count], mark) for f, (count, mark) in zip(firsts, words, strict=True)]
    return Aligned(text, language, seconds, tuple(tokens(grouped)), np.array(ends))


@dataclass(frozen=True)
class Recording:
    """One file of a corpus."""

    name: str  # path from the corpus' folder, as `printable`
    path: Path
    speaker: str  # "" where speakers are not told apart
    aligned: Aligned
    durations: npt.NDArray[np.int64]  # [K], frames of each token
    settings: FrameSettings

    @property
    def count(self) -> int:
        """Of its frames."""
        return int(self.durations.sum())

    def frames(self) -> Frames:
        return frames_of_file(self.path, self.settings)


@dataclass(frozen=True)
class Corpus:
    """Recordings, split by text."""

    train: Sequence[Recording]
    validation: Sequence[Recording]
    skipped: Sequence[str]  # a sentence a file

    @property
    def speakers(self) -> list[str]:
        return sorted({r.speaker for r in [*self.train, *self.validation]} - {""})

    def describe(self) -> str:
        """'544 recordings, 22.9 min; 54 of them, 2.4 min, held out with 51 texts; 2 speakers'."""

        def minutes(some: Sequence[Recording]) -> float:
            return sum(r.count * r.settings.frame_s for r in some) / 60

        both = [*self.train, *self.validation]
        texts = len({normalised(r.aligned.text) for r in self.validation})
        voices = f"; {len(self.speakers)} speakers" if len(self.speakers) > 1 else ""
        return (
            f"{len(both)} recordings, {minutes(both):.1f} min; {len(self.validation)} of them, "
            f"{minutes(self.validation):.1f} min, held out with their {texts} texts{voices}"
        )


def read_corpus(
    key: str,
    given: str,
    settings: FrameSettings,
    by_folder: bool,
    fraction: float,
    longest_s: float,
    say: Say = quiet,
) -> Corpus:
    """All recordings below the folder `given` as the setting `key`; `by_folder`: speakers are its folders.

    Each is analysed, which takes a tenth of its time where it was not done before; `say` tells how far that is.
    UserError when there is no such folder, or not two usable recordings with different texts in it.
    """
    folder = Path(given).expanduser()
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"{key} = {given!r} {what}; expected a folder of recordings with their phones")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    names = speaker_names(paths, folder) if by_folder else {}
    found, skipped = list[Recording](), list[str]()
    for number, path in enumerate(paths, 1):
        say(f"frames of recording {number:,} of {len(paths):,}")
        name = printable(path.relative_to(folder))
        try:
            found.append(_recording(name, path, names.get(path, ""), settings, longest_s))
        except UnusableError as error:
            skipped.append(f"{name} {error}")
    texts = {normalised(r.aligned.text) for r in found}
    if len(texts) < 2:
        reasons = f": {'; '.join(skipped[:3])}" if skipped else ""
        raise UserError(
            f"{key} = {given!r} has {len(found)} usable recordings of {len(paths)}, with {len(texts)} texts{reasons}; "
            "expected at least two texts, one of them to be held out"
        )
    held = held_out(texts, fraction)
    sides = [normalised(r.aligned.text) in held for r in found]
    train, validation = ([r for r, side in zip(found, sides, strict=True) if side is which] for which in (False, True))
    return Corpus(train, validation, skipped)


def _recording(name: str, path: Path, speaker: str, settings: FrameSettings, longest_s: float) -> Recording:
    """UnusableError, with the reason, for one that is left out."""
    aligned = read_aligned(path)
    if aligned.seconds > longest_s:
        raise UnusableError(f"lasts {aligned.seconds:.1f} s, longer than {longest_s:g} s")
    count = len(frames_of_file(path, settings))
    if abs(count * settings.frame_s - aligned.seconds) > FARTHEST_S:
        raise UnusableError(f"lasts {count * settings.frame_s:.2f} s, its phones {aligned.seconds:.2f} s")
    return Recording(name, path, speaker, aligned, aligned.durations(count, settings.frame_s), settings)


def speaker_names(paths: Iterable[Path], folder: Path) -> dict[Path, str]:
    """Of each file: the folder that it lies in, with its path below `folder` where others have the same name."""
    parents = {p: p.parent for p in paths}
    count = Counter(parent.name for parent in set(parents.values()))
    return {p: printable(q.name if count[q.name] == 1 else q.relative_to(folder)) for p, q in parents.items()}


def normalised(text: str) -> str:
    """Equal for texts that are said alike: letters and digits alone, without case."""
    return "".join(re.findall(r"\w", unicodedata.normalize("NFKC", text).casefold()))


def held_out(keys: Iterable[str], fraction: float) -> set[str]:
    """Those that are held out, by a hash of each: one keeps its side when others come or go.

    Where the hashes leave one side without a key, the one with the lowest is held out, or that with the highest is not.
    """
    ranked = sorted(set(keys), key=lambda key: (zlib.crc32(key.encode()), key))
    held = {key for key in ranked if zlib.crc32(key.encode()) < fraction * 2**32} or {ranked[0]}
    return held - {ranked[-1]} if len(held) == len(ranked) else held
