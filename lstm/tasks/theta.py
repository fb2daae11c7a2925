"""The Theta method (Assimakopoulos & Nikolopoulos 2000): a smoothed level with half of the trend, and a season.

It is simple exponential smoothing with drift (Hyndman & Billah 2003, eq. 5 and 6).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lstm.tasks.season import Floats, choices, fitted, waves

ALPHAS = np.linspace(0.05, 1.0, 20)


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
        made: Floats = once[steps % self._season]
        return made

    def ahead(self, seen: Floats, horizon: int) -> Floats:
        """The next `horizon` values after `seen` [M], which begins where the fitted values did."""
        n, a = len(seen), self._alpha
        plain = seen - self._of_season(np.arange(n))
        level = pd.Series(plain).ewm(alpha=a, adjust=False).mean().iloc[-1]
        slope = float(np.polyfit(np.arange(n), plain, 1)[0])
        k = np.arange(1, horizon + 1)
        coming = self._of_season(np.arange(n, n + horizon))
        made: Floats = level + slope / 2 * (k - 1 + (1 - (1 - a) ** n) / a) + coming
        return made
