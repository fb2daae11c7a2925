"""Sound as 256 classes: mu-law companding (ITU-T G.711), exactly as librosa quantises.

A code is 0 to 255; 128 is silence. Codes are fine near zero, where ears are, and coarse far from it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MU = 255
CLASSES = MU + 1
SILENCE = CLASSES // 2


def encode(sound: npt.NDArray[np.floating]) -> npt.NDArray[np.int16]:
    """Codes of samples in [-1, 1], any shape; values beyond are clipped."""
    x = np.clip(np.asarray(sound, np.float64), -1.0, 1.0)
    companded = np.sign(x) * np.log1p(MU * np.abs(x)) / np.log1p(MU)
    # Code k holds (edge k-1, edge k], with edges at equal steps from -1 to 1.
    codes: npt.NDArray[np.int16] = np.ceil((companded + 1.0) * (MU / 2)).astype(np.int16)
    return codes


def decode(codes: npt.NDArray[np.number]) -> npt.NDArray[np.float32]:
    """Samples in [-1, 1) of codes, any shape."""
    return TABLE[np.asarray(codes, np.int64)]


def _table() -> npt.NDArray[np.float32]:
    y = (np.arange(CLASSES) - SILENCE) / SILENCE
    table: npt.NDArray[np.float32] = (np.sign(y) * np.expm1(np.abs(y) * np.log1p(MU)) / MU).astype(np.float32)
    return table


TABLE = _table()  # code -> sample, [256]
