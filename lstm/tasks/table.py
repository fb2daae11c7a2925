"""A file as series in regular steps: what can be mended is mended and told, the rest is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from lstm.config import ForecastConfig
from lstm.tasks.frame import Columns, read_frame
from lstm.tasks.grid import Place, found_frequency, given_frequency, on_grid, season_of
from lstm.tasks.times import localized, read_times
from trainkit.errors import UserError

Floats = npt.NDArray[np.float64]
PLACE = "\0row"  # a column of our own, with a name that no file has


@dataclass(frozen=True)
class Series:
    """One series and its covariates; N steps, the last of which may be without a value: the future."""

    name: str
    times: pd.DatetimeIndex  # [N]
    values: Floats  # [N]; nan: not known
    past: Floats  # [N, past covariates]
    future: Floats  # [N, future covariates]

    @property
    def known(self) -> int:
        """Steps up to and with the last one that has a value."""
        return int(np.flatnonzero(np.isfinite(self.values))[-1]) + 1


@dataclass(frozen=True)
class Table:
    """All series of a file."""

    series: Sequence[Series]
    season: int  # steps
    frequency: str | None  # pandas' name; None: each row is a step
    notes: Sequence[str]  # what was mended, for the console


def read_table(config: ForecastConfig) -> Table:
    """The series of `config.path`. UserError, with the line, for what can't be used."""
    notes, all_series = list[str](), list[Series]()
    frame, columns, place = read_frame(config, notes)
    file = Path(config.path).name
    frame[columns.time] = read_times(frame[columns.time], config.time_format, config.time_zone, place, notes)
    parts = {
        key: _in_order(part, columns.time, config.time_zone, key, place, notes)
        for key, part in _groups(frame, columns, place, notes)
    }
    frequency = None
    if config.steps == "calendar":
        given = given_frequency(config.frequency) if config.frequency else None
        # Of the first series that has one.
        found = (found_frequency(pd.DatetimeIndex(part.index)) for part in parts.values())
        frequency = given or next((name for name in found if name), None)
    for key, part in parts.items():
        if config.steps == "calendar":
            places = part.pop(PLACE).map(place)
            part = on_grid(part, frequency, bool(config.frequency), f" of {key}" if key else "", file, places, notes)
        for target in columns.targets:
            name = target if key is None else key if len(columns.targets) == 1 else f"{key} {target}"
            all_series.append(_series(name, part, part[target].to_numpy(np.float64), columns, config, notes))
    for name, count in Counter(series.name for series in all_series).items():
        if count > 1:
            raise UserError(f"{file}: {count} series have the name {name!r}; expected different ones")
    return Table(all_series, config.season or season_of(frequency), frequency, notes)


def _groups(
    frame: pd.DataFrame, columns: Columns, place: Place, notes: list[str]
) -> list[tuple[str | None, pd.DataFrame]]:
    """(name, rows) of each series."""
    if columns.by is None:
        return [(None, frame)]
    names = frame[columns.by].astype(object)
    names = names.where(names.notna(), "").astype(str).str.strip()
    if len(without := names.index[names == ""]):
        notes.append(
            f"{len(without):,} rows have no name in {columns.by!r}, the first at {place(without[0])}: left out"
        )
        frame, names = frame[names != ""], names[names != ""]
    if not len(frame):
        raise UserError(f"forecast.series: no row has a name in {columns.by!r}")
    return [(str(key), part) for key, part in frame.groupby(names, sort=True)]


def _in_order(
    part: pd.DataFrame, time: str, zone: str | None, key: str | None, place: Place, notes: list[str]
) -> pd.DataFrame:
    """Rows indexed by rising times, with where each one is in PLACE. UserError for a time that is there twice."""
    whose = f" of {key}" if key else ""
    times = localized(part[time], zone, place)
    again = times.index[times.duplicated()]
    if len(again):
        first = times.index[times == times[again[0]]][0]
        raise UserError(
            f"{place(again[0])}: {times[again[0]]:%Y-%m-%d %H:%M} is there twice{whose}, first at {place(first)}; "
            "expected one row a time (several series need forecast.series=COLUMN, local times over the end of summer "
            "time forecast.time_zone=ZONE)"
        )
    part = part.assign(**{time: times, PLACE: part.index})
    if not times.is_monotonic_increasing:
        notes.append(f"rows{whose} were not in the order of time: sorted")
        part = part.sort_values(time)
    return part.set_index(time)


def _series(
    name: str, part: pd.DataFrame, values: Floats, columns: Columns, config: ForecastConfig, notes: list[str]
) -> Series:
    known = np.isfinite(values)
    if not known.any():
        raise UserError(f"forecast.targets: {name} has no number in it")
    first = int(known.argmax())
    values, part = values[first:], part.iloc[first:]
    last = int(np.flatnonzero(np.isfinite(values))[-1]) + 1
    if missing := int(np.isnan(values[:last]).sum()):
        notes.append(f"{missing:,} of {last:,} values of {name} are missing: the network is told that they are unknown")
    if np.nanmin(values) == np.nanmax(values):
        notes.append(f"{name} is constant at {values[0]:g}")
    if config.transform == "log":
        if np.nanmin(values) <= 0:
            raise UserError(f"forecast.transform = log, but {name} has the value {np.nanmin(values):g}; expected none")
        values = np.log(values)
    times = pd.DatetimeIndex(part.index)
    past, future = (part[list(some)].to_numpy(np.float64) for some in (columns.past, columns.future))
    return Series(name, times, values, past, future)
