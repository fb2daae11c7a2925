"""A season as sines and cosines, fitted by least squares: as smooth as what is known of it allows."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
MOST_HARMONICS = 26  # all of a year of weeks; of finer steps, a season that is as smooth as that


def waves(steps: npt.NDArray[np.int64], season: int, harmonics: int) -> Floats:
    """[N, columns]: sines and cosines of 1 to `harmonics` periods in a season; half of the season's steps is all."""
    angles = 2 * np.pi * np.outer(steps % season, np.arange(1, harmonics + 1)) / season
    columns = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    # At half the season's steps the sine is 0 everywhere.
    return columns[:, :-1] if harmonics and 2 * harmonics == season else columns


@lru_cache(256)
def choices(season: int) -> tuple[int, ...]:
    """Numbers of harmonics worth trying: few, or as many as there may be."""
    most = min(season // 2, MOST_HARMONICS)
    return tuple(sorted({k for k in (0, 1, 2, 3, 6, most) if k <= most}))


def fitted(columns: Floats, values: Floats) -> tuple[Floats, float]:
    """Coefficients, and the corrected criterion of Akaike (Hurvich & Tsai 1989): lower is better; inf: too many."""
    n, k = columns.shape[0], columns.shape[1] + 1
    if n < 2 * k + 2:
        return np.zeros(columns.shape[1]), np.inf
    coefficients: Floats = np.linalg.lstsq(columns, values, rcond=None)[0].astype(np.float64)
    error = float(np.mean((values - columns @ coefficients) ** 2))
    return coefficients, n * math.log(max(error, 1e-300)) + 2 * k * n / (n - k - 1)
