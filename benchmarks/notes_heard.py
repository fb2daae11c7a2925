"""Notes of a single voice found in sound by its pitch (pYIN), and how they compare with a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from trainkit.compiled_sound import librosa

Floats = npt.NDArray[np.float32]
LOWEST_HZ, HIGHEST_HZ = 110.0, 2_000.0
FRAMES_PER_S, SHORTEST = 100, 5  # frames that a tone has to hold
NEAR_S = 0.06  # between a note's start and where it is heard
MAJOR = (0, 2, 4, 5, 7, 9, 11)


@dataclass(frozen=True)
class Note:
    start: float  # seconds
    end: float
    pitch: int  # MIDI number


def notes_heard(sound: Floats, rate: int) -> list[Note]:
    """Stretches of at least 50 ms in which pYIN finds the same semitone; one that is struck again at once is one."""
    f0, voiced, _ = librosa.pyin(
        sound, fmin=LOWEST_HZ, fmax=HIGHEST_HZ, sr=rate, frame_length=rate // 16, hop_length=rate // FRAMES_PER_S
    )
    semitones = np.where(voiced, np.round(librosa.hz_to_midi(np.where(voiced, f0, 440.0))), -1).astype(int)
    edges = np.flatnonzero(np.diff(semitones, prepend=-2, append=-2))
    return [
        Note(first / FRAMES_PER_S, last / FRAMES_PER_S, int(semitones[first]))
        for first, last in pairwise(edges)
        if semitones[first] > 0 and last - first >= SHORTEST
    ]


def precision_and_recall(heard: Sequence[Note], score: Sequence[Note]) -> tuple[float, float]:
    """Parts of the heard notes that the score has, and of the score's that were heard: pitch, and start to 60 ms."""
    played = [n for before, n in zip([None, *score], score, strict=False) if before is None or before.pitch != n.pitch]

    def found(some: Sequence[Note], among: Sequence[Note]) -> float:
        hits = sum(any(n.pitch == m.pitch and abs(n.start - m.start) < NEAR_S for m in among) for n in some)
        return hits / max(len(some), 1)

    return found(heard, played), found(played, heard)


def in_one_key(notes: Sequence[Note]) -> float:
    """Part of the notes that lie in the major scale that has most of them (a minor one has the tones of its major)."""
    classes = [n.pitch % 12 for n in notes]
    return max((sum((c - key) % 12 in MAJOR for c in classes) for key in range(12)), default=0) / max(len(notes), 1)
