"""Frames from a file: those of `trainkit.speech.frames.save`, or the mel spectrum that another program made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainkit.errors import UserError, first_line, os_errors
from trainkit.speech.frame_settings import FrameSettings
from trainkit.speech.frames import ENDING, Floats, Frames, analyse, load
from trainkit.speech.griffin_lim import griffin_lim

MEL_ENDING = ".npy"
LOUDEST = 5.0  # natural logarithm of a band's magnitude, which no sound in [-1, 1] comes to
LOWEST = 3.0  # times the number that is silence: what is below it, such as decibels, has another scale


def read_given(name: str, settings: FrameSettings) -> Frames:
    """Of an .npz of ours, or an .npy with the mel spectrum [T, bands] or [bands, T] of another program.

    A mel spectrum says nothing of F0 and voicing: they are found in the sound that Griffin-Lim makes of it. UserError
    with the settings that are wanted, where the file has others as far as that can be seen.
    """
    path = Path(name).expanduser()
    if path.suffix.lower() not in (ENDING, MEL_ENDING):
        raise UserError(f"--frames {name!r}: expected a name that ends in {MEL_ENDING} or {ENDING}")
    try:
        return load(path, settings) if path.suffix.lower() == ENDING else with_pitch(_mel(path, settings), settings)
    except UserError as error:
        raise UserError(f"--frames {name!r}: {error}. The run is given {settings.describe()}") from None


def with_pitch(mel: Floats, settings: FrameSettings) -> Frames:
    """The frames of a mel spectrum [T, bands] alone."""
    unknown = Frames(settings, mel, np.zeros(len(mel), np.float32), np.zeros(len(mel), np.bool_))
    heard = analyse(griffin_lim(unknown), settings)
    return Frames(settings, mel, heard.log_f0, heard.voiced)


def _mel(path: Path, settings: FrameSettings) -> Floats:
    with os_errors(f"{path.name} can't be read"):
        try:
            found: npt.NDArray[np.generic] = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise UserError(f"{path.name} can't be read as an array: {first_line(error)}") from None
    array = found[0] if found.ndim == 3 and len(found) == 1 else found  # a batch of one
    if array.ndim != 2 or settings.bands not in array.shape or not np.issubdtype(array.dtype, np.floating):
        raise UserError(f"it holds {array.dtype} of shape {list(found.shape)}; expected {settings.bands} mel bands")
    mel = np.asarray(array if array.shape[1] == settings.bands else array.T, np.float32)
    if not len(mel) or not np.isfinite(mel).all():
        raise UserError("it has no frames, or some that are no numbers")
    loudest = LOUDEST if settings.log_base == "e" else LOUDEST / np.log(10)
    lowest, highest = float(mel.min()), float(mel.max())
    if lowest < LOWEST * settings.quietest or highest > loudest or lowest >= 0:
        raise UserError(
            f"it has values from {lowest:.2f} to {highest:.2f}; expected logarithms, with {settings.quietest:.2f} for "
            "silence"
        )
    return np.maximum(mel, np.float32(settings.quietest))
