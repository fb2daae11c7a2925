"""Forecasts of a trained network: quantiles in the series' own units, calibrated on the validation windows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from lstm import checkpoint, plots
from lstm.config import ForecastConfig
from lstm.network import Network
from lstm.tasks.forecast import UNDEFINED, Forecast, by_series, mean_known
from lstm.tasks.row_times import following
from lstm.tasks.starts import seasonal_naive
from lstm.tasks.table import Series
from trainkit.errors import UserError
from trainkit.words import Say, quiet

Floats = npt.NDArray[np.float64]
MOST_PICTURED = 8  # series
WINDOWS_AT_ONCE = 256  # between two words of progress
LEARNED_WINDOWS = 100  # of each series, that intervals are calibrated on beside the newer ones
Origins = Sequence[tuple[int, int]]  # (series, first step of the horizon)


class Forecaster:
    """The mean of networks, with shifts of its quantiles that make them true on windows before the one asked for.

    Networks that differ by their seeds only err in different ways: their mean errs less than one of them.
    Quantiles that mirror each other (0.1 and 0.9) are moved apart or together by one distance, in units of the window's
    scale, so that between them lie as many values as they say, in the windows of the same series since the end of
    training whose horizons are over (conformalised quantile regression, Romano et al. 2019, eq. 6 to 8, always on what
    is known by then), and in windows that were learned from: the wider of the two, as validation may be a calm time.
    One without its mirror is moved alone by the former, the median never. This is done when it is first asked for.
    """

    def __init__(self, networks: Sequence[Network], task: Forecast, say: Say = quiet) -> None:
        self._networks, self._task, self._say = [network.eval() for network in networks], task, say

    @cached_property
    def _calibration(self) -> list[tuple[int, Floats, Floats]]:
        """Of each series: the first step after training, errors of windows from there on, and of those learned from."""
        task, found = self._task, list[tuple[int, Floats, Floats]]()
        for i, series in enumerate(task.table.series):
            self._say(f"calibration: series {i + 1:,} of {len(task.table.series):,}")
            first = task.train_end(series)
            newer = self._errors([(i, o) for o in range(first, series.known - task.config.horizon + 1)])
            found.append((first, newer, self._errors(task.learned_origins(i, LEARNED_WINDOWS))))
        return found

    def medians(self, origins: Origins) -> Floats:
        """[windows, horizon]: those of `quantiles`, which calibration does not move."""
        middle = self._task.config.quantiles.index(0.5)
        found = [np.zeros((0, self._task.config.horizon))]
        for first in range(0, len(origins), WINDOWS_AT_ONCE):
            self._say(f"beside the start: window {first + 1:,} of {len(origins):,}")
            found.append(np.sort(self._scaled(origins[first : first + WINDOWS_AT_ONCE]), axis=-1)[..., middle])
        return np.concatenate(found)

    def quantiles(self, origins: Origins) -> Floats:
        """[windows, horizon, quantiles], rising in the quantiles, in the units of the series (or of its logarithm)."""
        shifts = np.stack([self.shifts(i, o) for i, o in origins])[:, None, :]
        return np.sort(self._scaled(origins) + shifts * self._scales(origins)[..., None], axis=-1)

    def shifts(self, series: int, origin: int) -> Floats:
        """Of each quantile, in units of a window's scale."""
        first, errors, learned = self._calibration[series]
        over = errors[: max(origin - self._task.config.horizon - first + 1, 0)]
        levels = self._task.config.quantiles
        found = np.zeros(len(levels))
        for k, level in enumerate(levels):
            mirror = next((m for m, other in enumerate(levels) if math.isclose(level + other, 1)), None)
            if mirror is None:
                found[k] = _quantile(over[..., k], level)
            elif level < 0.5:
                # How far a value lay outside of the two; below 0: inside.
                held = [np.maximum(-some[..., k], some[..., mirror]) for some in (over, learned)]
                known = [some for some in held if np.isfinite(some).any()]
                found[mirror] = max((_quantile(some, levels[mirror] - level) for some in known), default=0.0)
                found[k] = -found[mirror]
        return found

    def _errors(self, origins: Origins) -> Floats:
        """Errors in units of each window's scale, [windows, horizon, quantiles]; nan: not known."""
        if not origins:
            return np.zeros((0, self._task.config.horizon, len(self._task.config.quantiles)))
        errors = self.actual(origins)[..., None] - self._scaled(origins)
        scales = self._scales(origins)[..., None]
        return errors / np.where(scales > 0, scales, np.nan)

    def actual(self, origins: Origins) -> Floats:
        """What came, [windows, horizon]; nan: not known."""
        h = self._task.config.horizon
        found = np.full((len(origins), h), np.nan)
        for row, (i, o) in zip(found, origins, strict=True):
            some = self._task.table.series[i].values[o : o + h]
            row[: len(some)] = some
        return found

    @torch.no_grad()
    def _scaled(self, origins: Origins) -> Floats:
        """Uncalibrated quantiles in the units of the series."""
        windows = [self._task.window(i, o) for i, o in origins]
        inputs = torch.from_numpy(np.stack([w.inputs for w in windows]).astype(np.float32))
        outputs = torch.stack([network(inputs)[0] for network in self._networks]).mean(0)
        h = self._task.config.horizon
        quantiles = outputs[:, -h:].double().numpy() + np.stack([w.base[-h:] for w in windows])[..., None]
        level, scale = (np.array([getattr(w, name) for w in windows])[:, None, None] for name in ("level", "scale"))
        return np.asarray(quantiles * scale + level)

    def _scales(self, origins: Origins) -> Floats:
        return np.array([self._task.window(i, o).scale for i, o in origins])[:, None]


def _quantile(values: Floats, level: float) -> float:
    """Of those that are known; 0 when none is."""
    known = values[np.isfinite(values)]
    return float(np.quantile(known, level)) if len(known) else 0.0


@dataclass(frozen=True)
class Score:
    """Of one series over all windows of a rolling-origin backtest."""

    windows: int
    mase: float  # of the median; nan: the series does not change from season to season
    mase_naive: float  # of the seasonal naive forecast on the same windows
    mase_start: float  # of what the forecasts start from
    pinball: float  # mean over quantiles, in the series' units
    coverage: Mapping[str, float]  # nominal coverage of the interval between two quantiles -> the part that lay in it


def backtest(
    forecaster: Forecaster, task: Forecast, origins: Origins | None = None, say: Say = quiet
) -> dict[str, Score]:
    """Scores of each series on the test: from every origin, all values before it known, the weights as they are.

    MASE (Hyndman & Koehler 2006): the mean absolute error over that of the seasonal naive forecast, one season ahead,
    on what came before the test.
    """
    c, found = task.config, dict[str, Score]()
    of_each = by_series(task.test_origins() if origins is None else origins)
    for i, series in enumerate(task.table.series):
        say(f"backtest: series {i + 1:,} of {len(task.table.series):,}")
        mine = of_each.get(i, [])
        quantiles, actual = task.restored(forecaster.quantiles(mine)), task.restored(forecaster.actual(mine))
        values = task.restored(series.values)
        naive = np.stack([seasonal_naive(values, o, c.horizon, task.season) for _, o in mine])
        before = values[: series.known - c.test]
        scale = mean_known(np.abs(before[task.season :] - before[: -task.season]))
        scale = scale if scale > 0 else float("nan")
        errors = actual[..., None] - quantiles
        q = np.array(c.quantiles)
        found[series.name] = Score(
            len(mine),
            mean_known(np.abs(errors[..., c.quantiles.index(0.5)])) / scale,
            mean_known(np.abs(actual - naive)) / scale,
            mean_known(np.abs(actual - task.restored(np.stack([task.started(i, o) for _, o in mine])))) / scale,
            mean_known(np.maximum(q * errors, (q - 1) * errors)),
            dict(intervals(quantiles, actual, c.quantiles)),
        )
    return found


def beside_start(network: Network, task: Forecast, say: Say = quiet) -> str:
    """A line: whether the network errs less on validation than what its forecasts start from."""
    origins = task.validation_origins()
    medians = dict(zip(origins, Forecaster([network], task, say).medians(origins), strict=True))
    learned, start = task.mase(origins, lambda i, o: medians[i, o]), task.mase(origins, task.started)
    if math.isnan(start):
        return UNDEFINED
    if learned < start:
        return f"MASE on validation {learned:.2f}; of what forecasts start from {start:.2f}"
    return f"the network is not better than its start (MASE on validation {learned:.2f} and {start:.2f})"


def intervals(quantiles: Floats, actual: Floats, levels: Sequence[float]) -> list[tuple[str, float]]:
    """('80%', the part of known values that lay within) of each pair of quantiles around the median."""
    known = np.isfinite(actual)
    pairs = [(k, len(levels) - 1 - k) for k in range(len(levels) // 2)]
    return [
        (
            f"{100 * (levels[high] - levels[low]):.0f}%",
            mean_known(((actual >= quantiles[..., low]) & (actual <= quantiles[..., high]))[known].astype(float)),
        )
        for low, high in pairs
    ]


def ahead(forecaster: Forecaster, task: Forecast) -> pd.DataFrame:
    """The steps after each series' last value: series, time, a column a quantile, such as q0.1."""
    c, parts = task.config, []
    for i, series in enumerate(task.table.series):
        quantiles = task.restored(forecaster.quantiles([(i, series.known)])[0])
        part = pd.DataFrame(quantiles, columns=quantile_columns(c))
        times = coming(series, c.horizon, task.table.frequency)
        part.insert(0, time_column(c), range(1, c.horizon + 1) if times is None else times)
        part.insert(0, "series", series.name)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def time_column(config: ForecastConfig) -> str:
    """The name of a forecast's column of times: as it came, unless the forecast has another column of that name."""
    return "time" if config.time in ("series", *quantile_columns(config)) else config.time


def quantile_columns(config: ForecastConfig) -> list[str]:
    return [f"q{q:g}" for q in config.quantiles]


def coming(series: Series, horizon: int, frequency: str | None) -> pd.DatetimeIndex | None:
    """Times of the `horizon` steps after the last value; None where rows are steps and keep to no calendar."""
    times = series.times[series.known : series.known + horizon]
    more = horizon - len(times)
    if not more:
        return times
    if frequency is not None:
        return times.append(pd.date_range(series.times[-1], periods=more + 1, freq=frequency)[1:])
    later = following(series.times, more)
    return None if later is None else times.append(later)


def loaded(runs: Sequence[Path], task: Forecast, say: Say = quiet) -> Forecaster:
    """The mean of runs that learned the same task, `task` if with newer data. UserError when one learned another."""
    first, *others = ({**dict(checkpoint.load_config_of(run).forecast or {}), "path": ""} for run in runs)
    for run, learned in zip(runs[1:], others, strict=True):
        if different := sorted(key for key in first if learned.get(key) != first[key]):
            raise UserError(f"run {str(run)!r} learned another forecast than {str(runs[0])!r}: {', '.join(different)}")
    return Forecaster([checkpoint.load_network(run, task.shape) for run in runs], task, say)


def forecast_to(runs: Sequence[Path], data: str | None, out: Path, say: Say = quiet) -> None:
    """Write the forecast of runs' networks, for newer `data` where they are given, with a picture beside it."""
    config = checkpoint.load_config_of(runs[0])
    if config.forecast is None:
        raise UserError(f"run {str(runs[0])!r} did not learn to forecast; expected one that did")
    if out.suffix.lower() not in (".csv", ".parquet", ".pq"):
        raise UserError(f"--out {str(out)!r}: expected a name that ends in .csv or .parquet")
    section = config.forecast.model_copy(update={"path": data} if data else {})
    task = Forecast(section, config.training.batch, config.seed)
    frame = ahead(loaded(runs, task, say), task)
    write(frame, out)
    seen, forecasts = {}, {}
    for series in task.table.series[:MOST_PICTURED]:
        first = max(series.known - 2 * section.context, 0)
        mine = frame[frame["series"] == series.name]
        dated = coming(series, section.horizon, task.table.frequency) is not None
        before = series.times[first : series.known] if dated else np.arange(first - series.known, 0) + 1
        seen[series.name] = (before, task.restored(series.values[first : series.known]))
        forecasts[series.name] = (list(mine[time_column(section)]), mine[quantile_columns(section)].to_numpy())
    plots.save(plots.fan(seen, forecasts, {}, levels=section.quantiles), out.with_suffix(".png"))
    print(f"{len(frame)} rows in {out}, a picture in {out.with_suffix('.png')}")


def write(frame: pd.DataFrame, path: Path) -> None:
    """CSV or Parquet, by the name's end."""
    if path.suffix.lower() in (".parquet", ".pq"):
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False, float_format="%.6g")
