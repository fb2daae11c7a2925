"""Two forecasts that are fitted by least squares, with a season as smooth as what is known of it allows.

The Theta method (Assimakopoulos & Nikolopoulos 2000) is a smoothed level with half of the trend: simple exponential
smoothing with drift (Hyndman & Billah 2003, eq. 5 and 6). The autoregression's order, differencing and season are those
of the best Akaike criterion.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
MOST_LAGS = 5
ALPHAS = np.linspace(0.05, 1.0, 20)
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


class Theta:
    """Fitted to `values` [N] without gaps; `season` in steps, counted from the first value."""

    def __init__(self, values: Floats, season: int) -> None:
        steps = np.arange(len(values))
        line = np.stack([np.ones(len(values)), steps / len(values)], 1)
        tried = [
            (fitted(np.concatenate([line, waves(steps, season, k)], 1), values), k)
            for k in (choices(season) if season > 1 else (0,))
        ]
        (coefficients, _), self._harmonics = min(tried, key=lambda one: one[0][1])
        self._season, self._weights = season, coefficients[2:]
        plain = pd.Series(values - self._of_season(steps))
        errors = [float(((plain - plain.ewm(alpha=a, adjust=False).mean().shift())[1:] ** 2).sum()) for a in ALPHAS]
        self._alpha = float(ALPHAS[int(np.argmin(errors))])

    def _of_season(self, steps: np.ndarray) -> Floats:
        once = waves(np.arange(self._season), self._season, self._harmonics) @ self._weights
        values: Floats = once[steps % self._season]
        return values

    def ahead(self, seen: Floats, horizon: int) -> Floats:
        """The next `horizon` values after `seen` [M], which begins where the fitted values did."""
        n, a = len(seen), self._alpha
        plain = seen - self._of_season(np.arange(n))
        level = pd.Series(plain).ewm(alpha=a, adjust=False).mean().iloc[-1]
        slope = float(np.polyfit(np.arange(n), plain, 1)[0])
        k = np.arange(1, horizon + 1)
        coming = self._of_season(np.arange(n, n + horizon))
        forecast: Floats = level + slope / 2 * (k - 1 + (1 - (1 - a) ** n) / a) + coming
        return forecast


class Autoregression:
    """Fitted to `values` [N] without gaps; `season` in steps, counted from the first value."""

    def __init__(self, values: Floats, season: int) -> None:
        self._season, best = season, np.inf
        self._difference, self._lags, self._harmonics, self._weights = 1, 0, 0, np.zeros(1)
        for difference in (0, 1):
            for harmonics in choices(season) if season > 1 else (0,):
                for lags in range(MOST_LAGS + 1):
                    columns, targets = self._columns(values, difference, lags, harmonics)
                    weights, cost = fitted(columns, targets)
                    if cost < best:
                        best, self._weights = cost, weights
                        self._difference, self._lags, self._harmonics = difference, lags, harmonics

    def _columns(self, values: Floats, difference: int, lags: int, harmonics: int) -> tuple[Floats, Floats]:
        """Rows of the same steps for all orders, so that their criteria can be compared."""
        first = min(MOST_LAGS + 1, max(len(values) - 1, 1))
        changes = np.diff(values, prepend=values[:1]) if difference else values
        n = len(values) - first
        past = [changes[first - lag : first - lag + n] for lag in range(1, lags + 1)]
        season = waves(np.arange(first, len(values)), self._season, harmonics)
        return np.concatenate([np.stack([np.ones(n), *past], 1), season], 1), changes[first:]

    def ahead(self, seen: Floats, horizon: int) -> Floats:
        """The next `horizon` values after `seen` [M], which begins where the fitted values did.

        Never further out of what was seen than that is wide: what grows without end was badly fitted.
        """
        changes = list(np.diff(seen) if self._difference else seen)
        season = waves(np.arange(len(seen), len(seen) + horizon), self._season, self._harmonics)
        for row in season:
            past = [changes[-lag] if lag <= len(changes) else 0.0 for lag in range(1, self._lags + 1)]
            changes.append(float(self._weights @ [1.0, *past, *row]))
        forecast = np.array(changes[-horizon:])
        if self._difference:
            forecast = seen[-1] + np.cumsum(forecast)
        low, high = seen.min(), seen.max()
        clipped: Floats = np.clip(forecast, low - (high - low), high + (high - low))
        return clipped
