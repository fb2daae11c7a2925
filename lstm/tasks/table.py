"""A CSV or Parquet file as series in regular steps: what can be mended is mended and told, the rest is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from cluster.errors import UserError, did_you_mean
from lstm.config import ForecastConfig

EXAMPLES = Path(__file__).parents[1] / "example"
Floats = npt.NDArray[np.float64]
# Steps until the pattern comes again, by the head of pandas' name for the frequency.
SEASONS = {"min": 24 * 60, "h": 24, "D": 7, "B": 5, "W": 52, "M": 12, "Q": 4, "Y": 1}


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
    path = _found(config.path)
    frame = _frame(path, config)
    names = {str(column).strip().lower(): column for column in frame.columns}
    frame = frame.rename(columns={original: name for name, original in names.items()})

    def column(name: str, key: str) -> str:
        if name.strip().lower() not in frame.columns:
            hint = did_you_mean(name, map(str, names.values()))
            raise UserError(
                f"forecast.{key}: {path.name} has no column {name!r}.{hint} "
                f"It has {', '.join(map(str, names.values()))}"
            )
        return name.strip().lower()

    time = column(config.time, "time")
    by = column(config.series, "series") if config.series else None
    past = [column(name, "past_covariates") for name in config.past_covariates]
    future = [column(name, "future_covariates") for name in config.future_covariates]
    targets = [column(name, "targets") for name in config.targets] or [
        name for name in frame.columns if name not in {time, by, *past, *future}
    ]
    if not targets:
        raise UserError(f"forecast.path: {path.name} has no column to forecast beside {time!r}")
    if not len(frame):
        raise UserError(f"forecast.path: {path.name} has a head and no rows")
    frame[time] = _times(frame[time], path.name)
    for name in [*targets, *past, *future]:
        frame[name] = _numbers(frame[name], path.name)
    groups = [(None, frame)] if by is None else [(str(key), part) for key, part in frame.groupby(by, sort=True)]
    notes, made, frequency = list[str](), list[Series](), config.frequency
    for key, part in groups:
        part, frequency = _regular(part, time, config, frequency, key, path.name, notes)
        for target in targets:
            name = target if key is None else key if len(targets) == 1 else f"{key} {target}"
            values = part[target].to_numpy(np.float64)
            made.append(_series(name, part, values, past, future, config, notes))
    season = config.season or _season(frequency)
    return Table(made, season, frequency, notes)


def _found(given: str) -> Path:
    path = Path(given).expanduser()
    if not path.is_file() and path.parent.name == "example" and (EXAMPLES / path.name).is_file():
        return EXAMPLES / path.name  # that came with the package
    if not path.is_file():
        beside = [str(p) for p in path.parent.glob("*")] if path.parent.is_dir() else []
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(
            f"forecast.path = {given!r} {what}; expected a .csv or .parquet.{did_you_mean(str(path), beside, 0.8)}"
        )
    if path.suffix.lower() not in (".csv", ".txt", ".parquet", ".pq"):
        raise UserError(f"forecast.path = {given!r}: expected a name that ends in .csv or .parquet")
    return path


def _frame(path: Path, config: ForecastConfig) -> pd.DataFrame:
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(path).reset_index()
        head = path.open(encoding=config.encoding).readline()
        separator = max(",;\t", key=head.count)
        return pd.read_csv(path, encoding=config.encoding, sep=separator, skipinitialspace=True)
    except LookupError:
        raise UserError(f"forecast.encoding = {config.encoding!r} is unknown; expected utf-8, latin-1, ...") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"forecast.path: {path.name} is not {config.encoding} text (byte 0x{error.object[error.start]:02x}); "
            "set forecast.encoding=latin-1, cp1252 or utf-16"
        ) from None
    except Exception as error:  # whatever a broken file makes pandas or Arrow raise
        raise UserError(f"forecast.path: {path.name} can't be read: {str(error).strip().splitlines()[0]}") from None


def _line(row: object) -> int:
    """Of a CSV's row: the head is line 1."""
    return int(str(row)) + 2


def _times(column: pd.Series, file: str) -> pd.Series:
    if pd.api.types.is_numeric_dtype(column) and column.between(1000, 3000).all():
        column = column.astype(int).astype(str) + "-01-01"  # years
    times = pd.to_datetime(column, errors="coerce", format="mixed")
    if times.dt.tz is not None:
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    for row in column.index[times.isna()]:
        raise UserError(f"{file}:{_line(row)}: {column.name} = {column[row]!r} is no time; expected such as 2001-12-31")
    return times


def _numbers(column: pd.Series, file: str) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    bad = column.index[numbers.isna() & column.notna()]
    if len(bad):
        raise UserError(f"{file}:{_line(bad[0])}: {column.name} = {column[bad[0]]!r} is no number")
    return numbers.astype(np.float64).replace([np.inf, -np.inf], np.nan)


def _regular(
    part: pd.DataFrame,
    time: str,
    config: ForecastConfig,
    frequency: str | None,
    key: str | None,
    file: str,
    notes: list[str],
) -> tuple[pd.DataFrame, str | None]:
    """Rows in the order of time, one a step; with the frequency that all series have."""
    whose = f" of {key}" if key else ""
    again = part.index[part[time].duplicated()]
    if len(again):
        first = part.index[part[time] == part[time][again[0]]][0]
        raise UserError(
            f"{file}:{_line(again[0])}: {part[time][again[0]]:%Y-%m-%d %H:%M} is there twice{whose}, first on line "
            f"{_line(first)}; expected one row a time (several series need forecast.series=COLUMN)"
        )
    if not part[time].is_monotonic_increasing:
        notes.append(f"rows{whose} were not in the order of time: sorted")
        part = part.sort_values(time)
    part = part.set_index(time)
    if config.steps == "rows":
        return part, None
    frequency = frequency or _frequency(pd.DatetimeIndex(part.index))
    if frequency is None:
        raise UserError(
            f"{file}: no regular step between the times{whose}; set forecast.frequency (D, W, MS, h, ...), or "
            "forecast.steps=rows to take each row as a step"
        )
    grid = pd.date_range(part.index[0], part.index[-1], freq=frequency)
    off = part.index.difference(grid)
    if len(off):
        raise UserError(
            f"{file}: {off[0]:%Y-%m-%d %H:%M}{whose} does not lie on steps of {frequency!r} from "
            f"{part.index[0]:%Y-%m-%d}; set forecast.frequency, or forecast.steps=rows to take each row as a step"
        )
    if len(grid) > len(part):
        notes.append(f"{len(grid) - len(part):,} of {len(grid):,} steps{whose} have no row: taken as unknown")
    return part.reindex(grid), frequency


def _frequency(times: pd.DatetimeIndex, look: int = 12) -> str | None:
    """That of the first unbroken stretch, so that gaps do not matter."""
    look = min(look, len(times))
    for first in range(0, max(len(times) - look + 1, 1), max(look // 2, 1)):
        stretch = times[first : first + look]
        if len(stretch) >= 3 and (found := pd.infer_freq(stretch)):
            return str(getattr(found, "freqstr", found))
    return None


def _season(frequency: str | None) -> int:
    if frequency is None:
        return 1
    offset = pd.tseries.frequencies.to_offset(frequency)
    name = str(offset.rule_code).split("-")[0]
    name = {"MS": "M", "ME": "M", "BMS": "M", "BME": "M", "QS": "Q", "QE": "Q", "YS": "Y", "YE": "Y"}.get(name, name)
    return max(SEASONS.get(name, 1) // int(offset.n), 1)


def _series(
    name: str,
    part: pd.DataFrame,
    values: Floats,
    past: list[str],
    future: list[str],
    config: ForecastConfig,
    notes: list[str],
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
    return Series(name, times, values, part[past].to_numpy(np.float64), part[future].to_numpy(np.float64))
