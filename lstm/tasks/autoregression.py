"""An autoregression with a season, by least squares: its order, differencing and season by Akaike's criterion."""

from __future__ import annotations

import numpy as np

from lstm.tasks.season import Floats, choices, fitted, waves

MOST_LAGS = 5


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
        made = np.array(changes[-horizon:])
        if self._difference:
            made = seen[-1] + np.cumsum(made)
        low, high = seen.min(), seen.max()
        clipped: Floats = np.clip(made, low - (high - low), high + (high - low))
        return clipped
