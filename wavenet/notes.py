"""Notes with their times as frames for the local condition: a score for the network to play.

Beside a recording `NAME.wav` lies `NAME.json`, {"seconds": 64.2, "notes": [[0.0, 0.79, 53, 89], ...]} with start, end,
MIDI pitch and velocity of each, or `NAME.mid` or `NAME.midi`, as in MAESTRO (Hawthorne et al. 2019, arXiv 1810.12247,
whose WaveNet is conditioned on a piano roll as here).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainkit.errors import UserError, optional

PITCHES = 128  # MIDI's
FEATURES = 2 * PITCHES
SUFFIXES = (".json", ".mid", ".midi")
RINGING_S = 1.0  # after the last note of a MIDI file
Note = tuple[float, float, int, int]  # start and end in seconds, MIDI pitch, velocity


@dataclass(frozen=True)
class Score:
    """Notes in the order of their starts."""

    starts: npt.NDArray[np.float64]  # [N], seconds
    ends: npt.NDArray[np.float64]  # [N], seconds
    pitches: npt.NDArray[np.int64]  # [N], 0 to 127
    velocities: npt.NDArray[np.float64]  # [N], 0 to 1
    seconds: float  # how long it sounds


def score(notes: Iterable[Note], seconds: float) -> Score:
    """ValueError when there are none, one ends before it begins, or has a pitch or velocity that MIDI has not."""
    table = np.array(sorted(notes), np.float64).reshape(-1, 4)
    starts, ends, pitches, velocities = table.T
    if not len(table):
        raise ValueError("there are none")
    if not np.isfinite(table).all() or np.any(starts < 0) or np.any(ends < starts):
        raise ValueError("one begins before the recording, or ends before it begins")
    if np.any(table[:, 2:] < 0) or np.any(table[:, 2:] > PITCHES - 1):
        raise ValueError("one has a pitch or a velocity outside 0 to 127")
    return Score(starts, ends, pitches.astype(np.int64), velocities / 127, seconds)


def read_score(path: Path) -> Score:
    """Of a .json, .mid or .midi file. ValueError, with what is wrong, when it is missing or not of this kind."""
    if not path.is_file():
        raise ValueError(f"has no notes in {path.name}")
    try:
        if path.suffix == ".json":
            held: Any = json.loads(path.read_text())
            return score([(float(s), float(e), int(p), int(v)) for s, e, p, v in held["notes"]], float(held["seconds"]))
        midi = optional("pretty_midi").PrettyMIDI(str(path))
        notes = [(n.start, n.end, n.pitch, n.velocity) for i in midi.instruments if not i.is_drum for n in i.notes]
        return score(notes, midi.get_end_time() + RINGING_S)
    except UserError:
        raise
    except Exception as error:  # mido raises what it happens to meet in a broken file
        raise ValueError(
            f"has notes in {path.name} that can't be used ({str(error) or type(error).__name__})"
        ) from None


def read_score_of(recording: Path) -> Score:
    """The score beside a recording. ValueError when there is none, or it can't be used."""
    beside = [recording.with_suffix(suffix) for suffix in SUFFIXES]
    found = next((path for path in beside if path.is_file()), None)
    if found is None:
        raise ValueError(f"has no {' or '.join(path.name for path in beside)} with its notes beside it")
    return read_score(found)


def note_frames(played: Score, first: int, count: int, frame_s: float) -> npt.NDArray[np.float32]:
    """Frames first .. first + count - 1, [count, 256].

    Of each pitch, the velocity of what sounds in the frame, and, where a note is struck in it, the part of the frame
    that is left then: so the moment is known more finely than to a frame.
    """
    frames = np.zeros((count, 2, PITCHES), np.float32)
    struck, over = played.starts / frame_s, np.ceil(played.ends / frame_s).astype(np.int64)
    onset = np.floor(struck).astype(np.int64)
    for i in np.flatnonzero((onset < first + count) & (np.maximum(over, onset + 1) > first)):
        pitch = played.pitches[i]
        frames[max(onset[i] - first, 0) : over[i] - first, 0, pitch] = played.velocities[i]
        if onset[i] >= first:
            frames[onset[i] - first, 1, pitch] = 1 - struck[i] % 1
    return frames.reshape(count, FEATURES)
