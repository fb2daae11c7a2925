"""What a forecast starts from, before the network learns how it errs: five simple forecasts of a series' own past."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from lstm.tasks.fitted import Autoregression, Floats, Theta

LEAST_FITTED = 12  # values; with fewer, a fitted start is the last season
OLDEST = 50  # horizons: with more before it, a fit may be this part of them old
NAMES = {
    "last": "the last value", "season": "the last season", "drift": "the last season with its drift",
    "theta": "a fitted Theta", "ar": "a fitted autoregression",
}  # fmt: skip
SEASONS = (1, 3, 10)  # whose mean is tried


def before(seen: Floats, steps: np.ndarray, season: int, origin: int, seasons: int = 1) -> Floats:
    """The value a season before each step, or as many seasons as it takes to be before `origin`.

    With `seasons` above 1, the mean of those of so many seasons running, of as many as there are.
    """
    first = steps - season * (np.maximum(steps - origin, 0) // season + 1)
    if origin < season:
        first = np.minimum(steps - 1, origin - 1)
    at = first[:, None] - season * np.arange(seasons)
    there = (at >= 0) | (np.arange(seasons) == 0)
    return np.average(seen[np.clip(at, 0, origin - 1)], axis=1, weights=there)


def filled(values: Floats) -> Floats:
    """Missing values as the last known one."""
    last = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values)), 0))
    return values[last]


def seasonal_naive(values: Floats, origin: int, horizon: int, season: int) -> Floats:
    """The forecast [horizon] that the last season comes again."""
    return before(filled(values[:origin]), np.arange(origin, origin + horizon), season, origin)


class Starts:
    """Simple forecasts of series from any origin, of what came before it alone.

    Theta and the autoregression are fitted anew every `horizon` steps, to all values before; in a series of many
    horizons, when a fiftieth more is known. What the network learns from them is how they err on values that they have
    not seen.
    """

    def __init__(self, series: Sequence[Floats], season: int, horizon: int) -> None:
        """`series`: values of each, the first one known; nan: not known."""
        self._series, self._season, self._horizon = [filled(values) for values in series], season, horizon
        self._model = lru_cache(4_096)(self._fitted)

    def ahead(self, start: str, seasons: int, series: int, origin: int) -> Floats:
        """The forecast [horizon] of a series whose values before step `origin` are known."""
        seen, h, m = self._series[series][:origin], self._horizon, self._season
        steps = np.arange(origin, origin + h)
        if start == "last":
            return np.full(h, seen[-1])
        fitted_at = origin - origin % (h * max(origin // (OLDEST * h), 1))
        if start == "season" or fitted_at < LEAST_FITTED:
            return before(seen, steps, m, origin, seasons)
        if start == "drift":
            drift = float(np.mean(seen[m:] - seen[:-m])) if origin > m else 0.0  # a season
            return before(seen, steps, m, origin) + drift * ((steps - origin) // m + 1)
        return self._model(start, series, fitted_at).ahead(seen, h)

    def _fitted(self, start: str, series: int, at: int) -> Theta | Autoregression:
        return (Theta if start == "theta" else Autoregression)(self._series[series][:at], self._season)


def candidates(season: int, seasons: int, shortest: int) -> list[tuple[str, int]]:
    """(start, seasons) to choose from; `shortest`: steps that the shortest series has to learn from.

    Where `seasons` is above 1, so many were asked for.
    """
    means = [seasons] if seasons > 1 else [k for k in SEASONS if k == 1 or (season > 1 and k * season <= shortest)]
    others = [name for name in ("last", "drift", "theta", "ar") if name != "last" or season > 1]
    return [*(("season", k) for k in means), *((name, 1) for name in others)]


def spelled(start: str, seasons: int, season: int) -> str:
    """For the console."""
    if start == "season" and seasons > 1:
        return f"the mean of {seasons} seasons"
    return NAMES["last" if start == "season" and season == 1 else start]
