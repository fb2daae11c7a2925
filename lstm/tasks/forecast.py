"""Windows of series: a context that is seen, a horizon that is to be forecast as quantiles, in one sequence.

What is not known, be it missing or still to come, looks the same to the network: a 0 and a mark. The output at a step
is about the value of that very step, as its distance from a simple forecast of it; there is no shift to remember.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from lstm.config import ForecastConfig
from lstm.shape import Shape
from lstm.tasks.base import Batch
from lstm.tasks.calendar_features import Steps, calendar, extended
from lstm.tasks.grid import shown
from lstm.tasks.starts import Starts, before, candidates, filled, spelled
from lstm.tasks.table import Floats, Series, read_table
from trainkit.errors import UserError
from trainkit.words import plural

MOST_KEPT_WINDOWS = 20_000
UNDEFINED = "MASE on validation is undefined: nothing that is learned from changes from one season to the next"


@dataclass(frozen=True)
class Window:
    """Inputs, base and targets are in units of `scale` from `level`. Scale 0: what is learned from never changes."""

    inputs: Floats  # [context + horizon, features]
    base: Floats  # [context + horizon]: what came a season before, or a mean of several; then what is started from
    targets: Floats  # [context + horizon]; nan: not known
    level: float
    scale: float


class Forecast:
    """The quantiles of the next `horizon` values of each series."""

    unit = "scaled pinball"
    carried = False

    def __init__(self, config: ForecastConfig, size: int, seed: int) -> None:
        self.config, self._size, self._seed = config, size, seed
        self.table = read_table(config)
        self.season = self.table.season
        dated = config.calendar and self.table.frequency
        self._calendar = [calendar(s.times) if dated else None for s in self.table.series]
        width = next((c.shape[1] for c in self._calendar if c is not None), 0)
        c = config
        features = 5 + 2 * len(c.past_covariates) + 2 * len(c.future_covariates) + width
        self.shape = Shape(outputs=len(c.quantiles), features=features)
        self._future_scales = _scales(np.concatenate([s.future[: self.train_end(s)] for s in self.table.series]))
        self.first = max(2, min(c.context, self.season))  # a window needs that much of a past
        for s in self.table.series:
            need = self.first + c.horizon + c.validation + c.test
            if s.known < need:
                raise UserError(
                    f"{s.name} has {s.known} values; expected at least {need} (past {self.first}, forecast.horizon "
                    f"{c.horizon}, forecast.validation {c.validation}, forecast.test {c.test})"
                )
        self._spreads = [_spread(s.values[: self.train_end(s)]) for s in self.table.series]
        self._origins = [(i, int(o)) for i, s in enumerate(self.table.series)
                         for o in self._with_values(i, self.first, self.train_end(s))]  # fmt: skip
        self._refuse_unknown()
        self._starts = Starts([s.values for s in self.table.series], self.season, c.horizon)
        self.start_errors = dict[tuple[str, int], float]()  # MASE on validation of those chosen among
        self.start, self.seasons = self._chosen() if c.start == "auto" else (c.start, c.seasons)
        self._quantiles = torch.tensor(c.quantiles)
        self.window = lru_cache(MOST_KEPT_WINDOWS)(self._window)  # the same ones are drawn again and again

    @property
    def facts(self) -> dict[str, object]:
        return {"season": self.season, "frequency": self.table.frequency}

    def train_end(self, series: Series) -> int:
        """Steps that are learned from; then come those of the validation, then those of the test."""
        return series.known - self.config.test - self.config.validation

    def _with_values(self, series: int, first: int, end: int) -> Steps:
        """Origins from `first` on whose horizons lie before `end` and have a value in them."""
        h = self.config.horizon
        origins = np.arange(first, max(end - h + 1, first))
        known = np.cumsum([0, *np.isfinite(self.table.series[series].values)])
        found: Steps = origins[known[origins + h] > known[origins]]
        return found

    def _refuse_unknown(self) -> None:
        """UserError where nothing could be learned from, or chosen by: spans without a value in them."""
        c, some = self.config, self.table.series
        if not self._origins:
            raise UserError(
                f"no forecast.horizon of {c.horizon} steps before the validation has a value in it, of "
                f"{sum(int(np.isfinite(s.values[: self.train_end(s)]).sum()) for s in some)} values there; expected "
                "longer steps (forecast.frequency), or forecast.steps=rows to take each row as a step"
            )
        if not self.validation_origins():
            raise UserError(
                f"none of the {c.validation} steps of validation has a value"
                f"{'' if len(some) > 1 else f', {self._span(some[0])}'}; expected some: set forecast.validation (now "
                f"{c.validation}) or forecast.test (now {c.test}) so that it holds other steps"
            )

    def _span(self, series: Series) -> str:
        first = self.train_end(series)
        return f"{shown(series.times[first])} to {shown(series.times[first + self.config.validation - 1])}"

    def _sparse(self) -> list[str]:
        """Words on series of which validation or test knows little."""
        c, found = self.config, list[str]()
        for s in self.table.series:
            end = self.train_end(s)
            for key, first, count in (("validation", end, c.validation), ("test", end + c.validation, c.test)):
                if (known := int(np.isfinite(s.values[first : first + count]).sum())) < count / 2:
                    found.append(f"forecast.{key}: of {s.name} {known} of the {count} steps have a value")
        return found

    def describe(self) -> list[str]:
        c, some = self.config, self.table.series
        names = ", ".join(s.name for s in some[:5]) + (", ..." if len(some) > 5 else "")
        spans = f"{min(s.times[0] for s in some):%Y-%m-%d} to {max(s.times[s.known - 1] for s in some):%Y-%m-%d}"
        steps = f"steps of {self.table.frequency}, season {self.season}" if self.table.frequency else "a row a step"
        return [
            *self.table.notes,
            f"{len(some)} series ({names}), {sum(s.known for s in some):,} values, {spans}, {steps}",
            f"{plural(c.horizon, 'step')} from {c.context}; the last {c.test} of each are for the backtest, "
            f"{c.validation} before them for validation",
            *self._sparse(),
            self._start_line(),
        ]

    def _start_line(self) -> str:
        line = f"forecasts start from {spelled(self.start, self.seasons, self.season)}"
        if not self.start_errors:
            return line
        if not np.isfinite([*self.start_errors.values()]).any():
            return f"{line}; {UNDEFINED}"
        others = ", ".join(f"{spelled(*some, self.season)} {e:.2f}" for some, e in self.start_errors.items())
        return f"{line}, the best on validation (MASE: {others})"

    def _chosen(self) -> tuple[str, int]:
        """The start that errs least on validation, with its number of seasons."""
        shortest = min(self.train_end(s) for s in self.table.series)
        for some in candidates(self.season, self.config.seasons, shortest):
            self.start_errors[some] = self.mase(self.validation_origins(), partial(self._starts.ahead, *some))
        return min(self.start_errors, key=lambda some: np.nan_to_num(self.start_errors[some], nan=np.inf))

    def started(self, series: int, origin: int) -> Floats:
        """What a forecast starts from, [horizon], in the units of the series (or of its logarithm)."""
        return self._starts.ahead(self.start, self.seasons, series, origin)

    def restored(self, values: Floats) -> Floats:
        """In the series' own units, which need not be those that are learned in."""
        return np.exp(values) if self.config.transform == "log" else values

    def batch(self, step: int) -> Batch:
        rng = np.random.default_rng((self._seed, step))
        chosen = rng.integers(len(self._origins), size=self._size)
        return self._batch([self.window(*self._origins[k]) for k in chosen])

    def validation(self) -> Iterator[Batch]:
        origins = self.validation_origins()
        for first in range(0, len(origins), self._size):
            yield self._batch([self.window(i, o) for i, o in origins[first : first + self._size]])

    def validation_origins(self) -> list[tuple[int, int]]:
        """(series, first step of the horizon) of at most `windows` windows of each series, evenly spread."""
        found = list[tuple[int, int]]()
        for i, s in enumerate(self.table.series):
            end = self.train_end(s)
            origins = self._with_values(i, end, end + self.config.validation)
            found += [(i, int(o)) for o in _spread_out(origins, self.config.windows)]
        return found

    def learned_origins(self, series: int, most: int) -> list[tuple[int, int]]:
        """At most so many of the windows of a series that are learned from, evenly spread."""
        origins = self._with_values(series, self.first, self.train_end(self.table.series[series]))
        return [(series, int(o)) for o in _spread_out(origins, most)]

    def test_origins(self) -> list[tuple[int, int]]:
        """All windows whose horizon lies in the test."""
        c = self.config
        return [
            (i, o) for i, s in enumerate(self.table.series) for o in range(s.known - c.test, s.known - c.horizon + 1)
        ]

    def mase(self, origins: Sequence[tuple[int, int]], forecast: Callable[[int, int], Floats]) -> float:
        """Mean over the series of the absolute error of forecasts [horizon], scaled as in `forecasting.backtest`.

        In the series' own units. The scale is of what is learned from; nan: no series changes from season to season.
        """
        found, mine = list[float](), by_series(origins)
        for i, s in enumerate(self.table.series):
            values = self.restored(s.values)
            errors = [
                np.abs(values[o : o + self.config.horizon] - self.restored(forecast(i, o))) for _, o in mine.get(i, [])
            ]
            learned = values[: self.train_end(s)]
            scale = mean_known(np.abs(learned[self.season :] - learned[: -self.season]))
            if errors and scale > 0:
                found.append(mean_known(np.concatenate(errors)) / scale)
        return mean_known(np.array(found))

    def cost(self, outputs: Tensor, batch: Batch) -> Tensor:
        assert batch.base is not None
        error = (batch.targets - batch.base)[batch.counted][:, None] - outputs[batch.counted].float()
        q = self._quantiles.to(error.device)
        return 2 * torch.maximum(q * error, (q - 1) * error).mean(1)

    def _window(self, series: int, origin: int) -> Window:
        """The window whose horizon begins at step `origin`; nothing of the values from there on is in its inputs.

        But for their unit where the context does not change: it is the spread of all that is learned from.
        """
        c, s = self.config, self.table.series[series]
        steps = np.arange(origin - c.context, origin + c.horizon)
        inside = (steps >= 0) & (steps < len(s.values))
        at = np.clip(steps, 0, len(s.values) - 1)
        seen = s.values[:origin]
        context = seen[max(origin - c.context, 0) :]
        if not np.isfinite(context).any():
            context = seen
        level, scale = float(np.nanmean(context)), _spread(context) or self._spreads[series]
        units = scale or 1.0
        values = np.where(inside, s.values[at], np.nan)
        base = before(filled(seen), steps, self.season, origin, self.seasons)
        base[c.context :] = self.started(series, origin)
        base = (base - level) / units
        targets = (values - level) / units
        if not scale:
            targets = np.where(np.isfinite(values), base, np.nan)  # without a unit, no error can be learned from
        future = steps >= origin
        shown = np.where(future, np.nan, targets)
        columns = [*_marked(shown), base, future.astype(float), np.where(future, (steps - origin + 1) / c.horizon, 0.0)]
        past = np.where((inside & ~future)[:, None], s.past[at], np.nan)
        for k in range(past.shape[1]):
            (m,), (d,) = _scales(past[:, k : k + 1])
            columns += _marked((past[:, k] - m) / d)
        centres, widths = self._future_scales
        known_ahead = np.where(inside[:, None], s.future[at], np.nan)
        for k in range(known_ahead.shape[1]):
            columns += _marked((known_ahead[:, k] - centres[k]) / widths[k])
        rows = self._calendar[series]
        if rows is not None:
            columns += list(extended(rows, s.times, steps, self.table.frequency).T)
        return Window(np.stack(columns, 1), base, targets, level, scale)

    def _batch(self, windows: Sequence[Window]) -> Batch:
        inputs, base, targets = (
            torch.from_numpy(np.stack([getattr(w, name) for w in windows]).astype(np.float32))
            for name in ("inputs", "base", "targets")
        )
        counted = torch.isfinite(targets)
        counted[:, : self.config.context] = False
        return Batch(inputs, torch.nan_to_num(targets), counted, base=base)


def by_series(origins: Sequence[tuple[int, int]]) -> dict[int, list[tuple[int, int]]]:
    """Those (series, origin) of each series that has any."""
    return {i: list(some) for i, some in groupby(sorted(origins), lambda origin: origin[0])}


def _marked(values: Floats) -> list[Floats]:
    """Values with 0 for those that are not known, and a mark of which are."""
    known = np.isfinite(values)
    return [np.where(known, values, 0.0), known.astype(float)]


def _spread_out(origins: Steps, most: int) -> Steps:
    if not len(origins):
        return origins
    found: Steps = origins[np.unique(np.linspace(0, len(origins) - 1, most).astype(int))]
    return found


def mean_known(values: Floats) -> float:
    """Of those that are finite; nan when none is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _spread(values: Floats) -> float:
    """Standard deviation of what is known; 0 when it is constant."""
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0
    spread = float(known.std())
    return spread if spread > 1e-9 * max(abs(float(known.mean())), 1e-300) else 0.0


def _scales(columns: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each column, 0 and 1 where nothing is known or it is constant."""
    if not columns.size:
        return np.zeros(columns.shape[1]), np.ones(columns.shape[1])
    known = np.isfinite(columns)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, columns, 0).sum(0) / count
    deviation = np.sqrt((np.where(known, columns - mean, 0) ** 2).sum(0) / count)
    return mean, np.where(deviation > 1e-9, deviation, 1.0)
