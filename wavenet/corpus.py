"""A folder of sound as training and validation recordings, decoded once."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cluster.errors import UserError
from wavenet.config import DataConfig
from wavenet.mu_law import CLASSES, encode
from wavenet.notes import Score, read_score_of
from wavenet.phones import Timeline, read_timeline, vocabulary
from wavenet.sound import SUFFIXES, UnusableError, read

CACHE = "APEX_CACHE"  # environment variable: where decoded sound is kept
Samples = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Recording:
    """One file."""

    name: str  # path from the corpus' folder
    samples: Samples  # 16 bits
    speaker: int = 0
    phones: Timeline | None = None
    score: Score | None = None

    @property
    def sound(self) -> npt.NDArray[np.float32]:
        """In [-1, 1)."""
        return self.samples.astype(np.float32) / np.float32(32_768)


@dataclass(frozen=True)
class Corpus:
    """Recordings, split by file."""

    train: Sequence[Recording]
    validation: Sequence[Recording]
    speakers: Sequence[str]  # names by number
    phones: Sequence[str]  # the vocabulary, where recordings have phones
    skipped: Sequence[str]  # a sentence a file

    def describe(self, rate: int) -> str:
        """'568 files, 25.5 min; 52 of them, 2.4 min, for validation'."""

        def minutes(some: Sequence[Recording]) -> float:
            return sum(len(r.samples) for r in some) / rate / 60

        both = [*self.train, *self.validation]
        voices = f"; {len(self.speakers)} speakers" if self.speakers else ""
        return (
            f"{len(both)} files, {minutes(both):.1f} min; {len(self.validation)} of them, "
            f"{minutes(self.validation):.1f} min, for validation{voices}"
        )


def load_corpus(config: DataConfig) -> Corpus:
    """All sound below data.folder. UserError when there is no such folder or nothing in it can be used."""
    folder = Path(config.folder).expanduser()
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"data.folder = {config.folder!r} {what}; expected a folder of sound")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise UserError(f"data.folder = {config.folder!r} has no sound in it; expected files of {', '.join(SUFFIXES)}")
    usable, skipped = dict[Path, Samples](), list[str]()
    lines, scores = dict[Path, Timeline](), dict[Path, Score]()
    for path in paths:
        try:
            if config.conditions == "phones":
                lines[path] = read_timeline(path.with_suffix(".json"))
            elif config.conditions == "notes":
                scores[path] = read_score_of(path)
            usable[path] = _cached(path, config)
        except (UnusableError, ValueError) as error:
            skipped.append(f"{path.relative_to(folder)} {error}")
    speakers = sorted({p.parent.name for p in usable}) if config.speakers == "folder" else []
    found = [
        Recording(
            str(p.relative_to(folder)),
            samples,
            speakers.index(p.parent.name) if speakers else 0,
            lines.get(p),
            scores.get(p),
        )
        for p, samples in usable.items()
    ]
    if len(found) < 2:
        reasons = f": {'; '.join(skipped[:3])}" if skipped else ""
        raise UserError(
            f"data.folder = {config.folder!r} has {len(found)} usable files of {len(paths)}{reasons}; expected at "
            "least two, one of them for validation"
        )
    train, validation = split(found, config.validation_fraction)
    return Corpus(train, validation, speakers, vocabulary(lines.values()) if lines else [], skipped)


def split(found: Sequence[Recording], fraction: float) -> tuple[list[Recording], list[Recording]]:
    """(training, validation), by a hash of each name: a file keeps its side when others come or go."""
    ranked = sorted(found, key=lambda r: zlib.crc32(r.name.encode()))
    below = [r for r in ranked if zlib.crc32(r.name.encode()) < fraction * 2**32]
    held = below or ranked[:1]
    held = held[: len(found) - 1]
    names = {r.name for r in held}
    return [r for r in found if r.name not in names], [r for r in found if r.name in names]


def frequencies(some: Sequence[Recording]) -> npt.NDArray[np.float64]:
    """Of each mu-law code [256] in all of the recordings; one that never comes counts as if it came once."""
    counts = np.ones(CLASSES)
    for recording in some:
        counts += np.bincount(encode(recording.sound), minlength=CLASSES)
    share: npt.NDArray[np.float64] = counts / counts.sum()
    return share


def _cached(path: Path, config: DataConfig) -> Samples:
    """Decoded samples, from the cache when the file has been decoded with these settings before."""
    timed = config.conditions in ("phones", "notes")  # their times count from the beginning
    trim_db = None if timed else config.trim_db
    state = path.stat()
    facts = f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}|{config.sample_rate}|{trim_db}"
    cached = _cache_folder() / f"{hashlib.sha256(facts.encode()).hexdigest()[:32]}.npy"
    try:
        kept: Samples = np.load(cached, allow_pickle=False)
        return kept
    except (OSError, ValueError):
        pass
    sound = read(path, config.sample_rate, trim_db)
    samples = np.round(sound * 32_767).astype(np.int16)
    with suppress(OSError):  # a cache that can't be written costs time and nothing else
        cached.parent.mkdir(parents=True, exist_ok=True)
        partial = cached.with_suffix(f".{os.getpid()}.npy")
        np.save(partial, samples)
        partial.replace(cached)
    return samples


def _cache_folder() -> Path:
    base = os.environ.get(CACHE) or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "apex-ray"
    return Path(base).expanduser() / "sound"
