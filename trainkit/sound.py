"""One file as mono samples at the rate that is asked for."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from trainkit.compiled_sound import librosa
from trainkit.errors import first_line, os_errors

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".m4a", ".wma")
LOUDEST = 4.0  # of full scale 1: louder mixes (12 dB over) are numbers of another scale
SILENT = 1e-4  # a file that never gets louder, of full scale 1, is silence: -80 dB


class UnusableError(Exception):
    """Why a file is left out, in words."""


def read(path: Path, rate: int, trim_db: float | None) -> npt.NDArray[np.float32]:
    """Samples [N] in [-1, 1]: channels mixed down, resampled to `rate`, silence at both ends cut off.

    UnusableError for a file that is broken, empty, silent, or of numbers on another scale.
    """
    if not path.stat().st_size:
        raise UnusableError("is empty")
    try:
        sound, file_rate = _decoded(path)
    except soundfile.LibsndfileError as error:
        raise UnusableError(f"can't be read ({error.error_string})") from None  # without the name, which is known
    except Exception as error:
        raise UnusableError(f"can't be read ({first_line(error)})") from None
    if not np.isfinite(sound).all():
        raise UnusableError("has samples that are no numbers")
    mono = sound.mean(axis=1) if sound.ndim > 1 else sound
    if not len(mono):
        raise UnusableError("has no samples")
    if np.abs(mono).max() < SILENT:
        raise UnusableError("is silent")
    if (peak := float(np.abs(mono).max())) > LOUDEST:
        raise UnusableError(
            f"has samples up to {peak:,.0f}; expected -1 to 1 in a file of floating-point numbers: divide them by "
            "their full scale, 32,768 for numbers of 16 bits"
        )
    if file_rate != rate:
        mono = librosa.resample(mono, orig_sr=file_rate, target_sr=rate)
    if trim_db is not None:
        mono, _ = librosa.effects.trim(mono, top_db=trim_db)
    return np.clip(mono, -1.0, 1.0).astype(np.float32)


def length(path: Path, rate: int) -> int:
    """How many samples `read` gives of a file without cutting silence off, mostly from its head alone."""
    try:
        info = soundfile.info(os.fsencode(path))
    except soundfile.LibsndfileError:
        return len(read(path, rate, None))
    return math.ceil(int(info.frames) * rate / int(info.samplerate))


def _decoded(path: Path) -> tuple[npt.NDArray[np.float32], int]:
    try:
        # As bytes: soundfile refuses text that is no UTF-8, which a name need not be.
        sound, rate = soundfile.read(os.fsencode(path), dtype="float32", always_2d=True)
        return sound, int(rate)
    except soundfile.LibsndfileError:
        if path.suffix.lower() in (".wav", ".flac", ".ogg", ".aif", ".aiff", ".au"):
            raise
        sound, rate = librosa.load(path, sr=None, mono=False)  # what a codec of the system can read
        return np.atleast_2d(sound).T, int(rate)


def write(path: Path, sound: npt.NDArray[np.floating], rate: int) -> None:
    """16-bit WAV or FLAC, by the name's end."""
    soundfile.write(path, sound, rate, subtype="PCM_16")


def write_with_facts(path: Path, sound: npt.NDArray[np.floating], rate: int, facts: Mapping[str, object]) -> None:
    """As `write`, with NAME.json beside it. UserError where that can't be."""
    with os_errors(f"{path.parent} can't be written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, sound, rate)
        path.with_suffix(".json").write_text(json.dumps(facts, ensure_ascii=False) + "\n", encoding="utf-8")
