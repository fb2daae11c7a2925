"""A folder of sound as training and validation recordings, decoded once."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainkit.cache import kept
from trainkit.errors import UserError
from trainkit.mu_law import CLASSES, encode
from trainkit.sound import SUFFIXES, UnusableError, read
from trainkit.speech.aligned import held_out, normalised, speaker_names
from trainkit.speech.frames import ENDING, Frames, frames_of_file, load
from trainkit.speech.phones import Timeline, read_timeline, vocabulary
from trainkit.words import plural, printable
from wavenet.config import FRAMED, PHONETIC, DataConfig
from wavenet.notes import Score, read_score_of

READING = 2  # goes up when a file is read as other samples than before: what is kept is then decoded anew
Samples = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Recording:
    """One file."""

    name: str  # path from the corpus' folder, as `printable`
    samples: Samples  # 16 bits
    speaker: int = 0
    phones: Timeline | None = None
    score: Score | None = None
    frames: Frames | None = None  # of its sound
    said_frames: Frames | None = None  # as many, as an acoustic model says them
    text: str = ""  # that is said in it, where that is known

    @property
    def sound(self) -> npt.NDArray[np.float32]:
        """In [-1, 1)."""
        return self.samples.astype(np.float32) / np.float32(32_768)


@dataclass(frozen=True)
class Corpus:
    """Recordings, split by text."""

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
        voices = f"; {plural(len(self.speakers), 'speaker')}" if self.speakers else ""
        return (
            f"{plural(len(both), 'file')}, {minutes(both):.1f} min; {len(self.validation)} of them, "
            f"{minutes(self.validation):.1f} min, for validation{voices}"
        )


def load_corpus(
    config: DataConfig, known: tuple[Sequence[str], Sequence[str]] | None = None, more_speakers: bool = False
) -> Corpus:
    """All sound below data.folder. UserError when there is no such folder or nothing in it can be used.

    With `known`, the speakers and phones by number of a run that there is already, these are the corpus' own: files of
    other speakers are skipped, or, with `more_speakers`, get numbers after them; other phones are none.
    """
    folder = Path(config.folder).expanduser()
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"data.folder = {config.folder!r} {what}; expected a folder of sound")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise UserError(f"data.folder = {config.folder!r} has no sound in it; expected files of {', '.join(SUFFIXES)}")
    usable, skipped = dict[Path, Recording](), list[str]()
    for path in paths:
        try:
            usable[path] = _recording(path, folder, config)
        except (UnusableError, ValueError) as error:
            skipped.append(f"{printable(path.relative_to(folder))} {error}")
    names = speaker_names(usable, folder) if config.speakers == "folder" else {}
    speakers = list(known[0]) if known is not None else []
    if known is None or more_speakers:
        speakers += sorted(set(names.values()) - set(speakers))
    for path in [p for p, name in names.items() if name not in speakers]:
        skipped.append(
            f"{printable(path.relative_to(folder))} is of {names[path]!r}, a speaker that the run does not know"
        )
        del usable[path]
    found = [replace(r, speaker=speakers.index(names[p])) if names else r for p, r in usable.items()]
    if len(found) < 2:
        reasons = f": {'; '.join(skipped[:3])}" if skipped else ""
        raise UserError(
            f"data.folder = {config.folder!r} has {len(found)} usable files of {len(paths)}{reasons}; expected at "
            "least two, one of them for validation"
        )
    train, validation = split(found, config.validation_fraction)
    if not validation:
        raise UserError(f"data.folder = {config.folder!r}: all files say one text; expected two, one for validation")
    lines = [r.phones for r in found if r.phones is not None]
    phones = known[1] if known is not None else vocabulary(lines) if lines else []
    return Corpus(train, validation, speakers, phones, skipped)


def _recording(path: Path, folder: Path, config: DataConfig) -> Recording:
    """A file with what its conditions need. UnusableError or ValueError where something is amiss."""
    line = read_timeline(path.with_suffix(".json")) if config.conditions in PHONETIC else None
    score = read_score_of(path) if config.conditions == "notes" else None
    name, samples = printable(path.relative_to(folder)), _cached(path, config)
    plain = Recording(name, samples, text=text_beside(path), phones=line, score=score)
    if config.conditions not in FRAMED:
        return plain
    frames = frames_of_file(path, config.frames)
    said = None if config.said_frames is None else _said(Path(config.said_frames), path.relative_to(folder), frames)
    return replace(plain, frames=frames, said_frames=said)


def _said(place: Path, name: Path, frames: Frames) -> Frames:
    """What an acoustic model says of the recording whose own frames are given. ValueError where it does not fit."""
    try:
        said = load((place.expanduser() / name).with_suffix(ENDING), frames.settings)
    except UserError as error:
        raise ValueError(f"has nothing in data.said_frames that can be used: {error}") from None
    if len(said) != len(frames):
        raise ValueError(f"has {len(frames)} frames, but {len(said)} in data.said_frames")
    return said


def split(found: Sequence[Recording], fraction: float) -> tuple[list[Recording], list[Recording]]:
    """(training, validation), by a hash of each text, or name: a file keeps its side when others come or go.

    Recordings of one text are on one side; where texts are not known, two microphones' recordings of one utterance.
    Where the hashes leave one side without a file, those with the lowest are held out, or those with the highest not.
    """
    keys = [normalised(r.text) or utterance(r.name) for r in found]
    held = held_out(keys, fraction)
    train, validation = (
        [r for r, key in zip(found, keys, strict=True) if (key in held) is side] for side in (False, True)
    )
    return train, validation


def utterance(name: str) -> str:
    """A recording's name without the microphone's number (VCTK 0.92's NAME_mic1 and NAME_mic2)."""
    return re.sub(r"_mic\d+(?=\.\w+$)", "", name)


def text_beside(recording: Path) -> str:
    """What is said in it, by the NAME.json beside it; nothing where that does not tell."""
    with suppress(OSError, ValueError):
        facts = json.loads(recording.with_suffix(".json").read_text(encoding="utf-8"))
        return str(facts.get("text", "")) if isinstance(facts, dict) else ""
    return ""


def frequencies(some: Sequence[Recording]) -> npt.NDArray[np.float64]:
    """Of each mu-law code [256] in all of the recordings; one that never comes counts as if it came once."""
    counts = np.ones(CLASSES)
    for recording in some:
        counts += np.bincount(encode(recording.sound), minlength=CLASSES)
    share: npt.NDArray[np.float64] = counts / counts.sum()
    return share


def trim_db(config: DataConfig) -> float | None:
    """At which silence at the ends is cut off: not where times, of phones or frames, count from the beginning."""
    return config.trim_db if config.conditions in ("none", "mel") else None


def _cached(path: Path, config: DataConfig) -> Samples:
    """Decoded samples, from the cache when the file has been decoded with these settings before."""
    threshold = trim_db(config)

    def decoded() -> Samples:
        return np.round(read(path, config.sample_rate, threshold) * 32_767).astype(np.int16)

    return kept("sound", path, f"{config.sample_rate}|{threshold}|{READING}", decoded)
