"""Frames of a recording, in which models of speech meet: a logarithmic mel spectrum, log F0 and voicing.

Of N samples there are T = ceil(N / hop) frames; frame t is about the sound around sample (t + 0.5) hop. One model may
say them, another may sound them, and they need to know nothing of each other but the FrameSettings. Their file is an
.npz with the arrays `mel`, `log_f0`, `voiced` and, as JSON text, `settings`; nothing in it is pickled.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from trainkit.cache import kept
from trainkit.compiled_sound import librosa
from trainkit.errors import UserError, first_line, os_errors
from trainkit.sound import read
from trainkit.speech.frame_settings import FrameSettings
from trainkit.words import printable

Floats = npt.NDArray[np.float32]
ENDING = ".npz"
ARRAYS: dict[str, Any] = {"mel": np.float32, "log_f0": np.float32, "voiced": np.bool_}  # of the file
READING = 1  # goes up when sound becomes other frames than before: what is kept is then made anew
PERIODS = 4  # of the lowest F0, that a window for F0 holds at the least


@dataclass(frozen=True)
class Frames:
    """T frames."""

    settings: FrameSettings
    mel: Floats  # [T, bands]
    log_f0: Floats  # [T], natural logarithm of Hz; between voiced parts a straight line
    voiced: npt.NDArray[np.bool_]  # [T]
    # (start in seconds, name as eSpeak NG writes it), where a model said the frames; not in their file
    phones: tuple[tuple[float, str], ...] = ()

    def __len__(self) -> int:
        return len(self.mel)

    @property
    def samples(self) -> int:
        """Of the sound that the frames are of, or up to hop_samples - 1 more."""
        return len(self) * self.settings.hop_samples

    def cut(self, first: int, count: int) -> Frames:
        """Frames first .. first + count - 1; those before the beginning and after the end are silence."""
        places = np.arange(first, first + count)
        inside = (places >= 0) & (places < len(self))
        near = np.clip(places, 0, len(self) - 1)
        mel = np.where(inside[:, None], self.mel[near], np.float32(self.settings.quietest))
        return Frames(self.settings, mel, self.log_f0[near], self.voiced[near] & inside)


def joined(parts: Sequence[Frames]) -> Frames:
    """One after the other; at least one, all of the same settings."""
    mel, log_f0, voiced = (np.concatenate([getattr(part, key) for part in parts]) for key in ARRAYS)
    return Frames(parts[0].settings, mel, log_f0, voiced)


def analyse(sound: npt.NDArray[np.floating], settings: FrameSettings) -> Frames:
    """Of samples [N] in [-1, 1] at the settings' rate, N at least 1. Slow: F0 takes a tenth of the sound's time."""
    log_f0, voiced = _pitch(sound, settings)
    return Frames(settings, mel_of(sound, settings), log_f0, voiced)


def mel_of(sound: npt.NDArray[np.floating], settings: FrameSettings) -> Floats:
    """The mel spectrum alone, [T, bands]: quick."""
    s = settings
    spectrum = np.abs(
        librosa.stft(
            _around(sound, s.window_samples, s), n_fft=s.window_samples, hop_length=s.hop_samples, center=False
        )
    )
    magnitudes = np.maximum(mel_bands(s) @ spectrum, s.floor)
    return np.asarray((np.log if s.log_base == "e" else np.log10)(magnitudes).T, np.float32)


def mel_bands(settings: FrameSettings) -> Floats:
    """Weights of the spectrum's lines in each band, [bands, window / 2 + 1]."""
    s = settings
    bands: Floats = librosa.filters.mel(
        sr=s.sample_rate, n_fft=s.window_samples, n_mels=s.bands, fmin=s.lowest_hz, fmax=s.highest_hz
    )
    return bands


def _pitch(sound: npt.NDArray[np.floating], settings: FrameSettings) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """(log F0, voiced), both [T], by probabilistic YIN (Mauch & Dixon 2014)."""
    s = settings
    window = 1 << math.ceil(math.log2(max(PERIODS * s.sample_rate / s.lowest_f0_hz, s.hop_samples)))
    f0, voiced, _ = librosa.pyin(
        _around(sound, window, s), fmin=s.lowest_f0_hz, fmax=s.highest_f0_hz, sr=s.sample_rate,
        frame_length=window, hop_length=s.hop_samples, center=False,
    )  # fmt: skip
    return continuous(f0, voiced, settings), voiced


def continuous(f0: npt.NDArray[np.floating], voiced: npt.NDArray[np.bool_], settings: FrameSettings) -> Floats:
    """The logarithm [T] of F0 in Hz [T] that counts where `voiced`: straight lines between, level before and after.

    Where nothing is voiced it is the middle of the range.
    """
    places = np.flatnonzero(voiced)
    if not len(places):
        middle = math.log(settings.lowest_f0_hz * settings.highest_f0_hz) / 2
        return np.full(len(voiced), middle, np.float32)
    log_f0: Floats = np.interp(np.arange(len(voiced)), places, np.log(f0[places])).astype(np.float32)
    return log_f0


def _around(sound: npt.NDArray[np.floating], window: int, settings: FrameSettings) -> Floats:
    """Samples with zeros before and after, so that windows without any further padding are the T frames."""
    hop = settings.hop_samples
    before = (window - hop) // 2
    whole = (settings.frames(len(sound)) - 1) * hop + window
    return np.pad(np.asarray(sound, np.float32), (before, max(whole - before - len(sound), 0)))[:whole]


def frames_of_file(path: Path, settings: FrameSettings, trim_db: float | None = None) -> Frames:
    """`analyse` of a recording, from the cache when that was done before.

    UnusableError as `trainkit.sound.read`; UserError where the cache can't be written.
    """

    def make() -> Floats:
        found = analyse(read(path, settings.sample_rate, trim_db), settings)
        return np.column_stack([found.mel, found.log_f0, found.voiced])

    both = kept("frames", path, f"{settings.model_dump_json()}|{trim_db}|{READING}", make, must=True)
    return Frames(settings, both[:, :-2], both[:, -2], both[:, -1] > 0)


def save(frames: Frames, path: Path) -> None:
    """Write a file that ends in .npz. UserError where it can't be written."""
    settings = np.array(frames.settings.model_dump_json())
    with os_errors(f"{printable(path)} can't be written"), path.open("wb") as file:
        np.savez(file, settings=settings, mel=frames.mel, log_f0=frames.log_f0, voiced=frames.voiced)


def load(path: Path, expected: FrameSettings | None = None) -> Frames:
    """What `save` wrote. UserError for a file that is missing, broken, or of other settings than `expected`."""
    name = f"frames {printable(path)!r}"
    with os_errors(f"{name} can't be read"):
        try:
            with np.load(path, allow_pickle=False) as file:
                settings = FrameSettings.model_validate_json(str(file["settings"]))
                mel, log_f0, voiced = (file[key].astype(kind) for key, kind in ARRAYS.items())
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "settings"
            raise UserError(f"{name}: {key}: {first['msg']}; expected settings as this version writes them") from None
        except KeyError as error:
            raise UserError(f"{name}: {first_line(error)}; expected settings, mel, log_f0 and voiced") from None
        except (ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise UserError(f"{name} can't be read as an .npz of arrays: {first_line(error)}") from None
    if expected is not None:
        check(settings, expected, name)
    count = len(mel) if mel.ndim else 1
    for key, array, wanted in (
        ("mel", mel, (count, settings.bands)),
        ("log_f0", log_f0, (count,)),
        ("voiced", voiced, (count,)),
    ):
        if array.shape != wanted:
            raise UserError(f"{name}: {key} has shape {list(array.shape)}; expected {list(wanted)}")
    if not (count and np.isfinite(mel).all() and np.isfinite(log_f0).all()):
        raise UserError(f"{name} has no frames, or some that are no numbers")
    return Frames(settings, mel, log_f0, voiced)


def check(found: FrameSettings, expected: FrameSettings, name: str) -> None:
    """UserError, with the first key that differs, for frames of other settings; `name` says whose they are."""
    for key in FrameSettings.model_fields:
        if (has := getattr(found, key)) != (wanted := getattr(expected, key)):
            raise UserError(f"{name}: {key} = {has}; expected {wanted}: the frames are of other settings")
