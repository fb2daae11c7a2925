"""A CSV or Parquet file as a frame whose columns are known: times, names of series, targets and covariates."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from lstm.config import ForecastConfig
from lstm.tasks.grid import Place
from trainkit.errors import UserError, did_you_mean

EXAMPLES = Path(__file__).parents[1] / "example"
NAMELESS = re.compile(r"unnamed: \d+(_level_\d+)?|")  # pandas' names for columns without one, in small letters
COUNTERS = ("index", "level_0", "id", "row", "row_id", "row_number", "no", "nr", "#")


@dataclass(frozen=True)
class Columns:
    """Names of columns, in small letters."""

    time: str
    by: str | None  # names the series that a row belongs to
    targets: Sequence[str]
    past: Sequence[str]
    future: Sequence[str]


def read_frame(config: ForecastConfig, notes: list[str]) -> tuple[pd.DataFrame, Columns, Place]:
    """All rows, columns in small letters, numbers as float64, times and names as they are written; where a row is.

    UserError for what can't be used.
    """
    path = _found(config.path)
    parquet = path.suffix.lower() in (".parquet", ".pq")

    @cache
    def lines() -> Sequence[int]:
        return [] if parquet else _lines(path, config.encoding)

    def place(row: object) -> str:
        number = int(str(row))
        if parquet:
            return f"{path.name}, row {number + 1}"
        # Where the file's lines are not what pandas takes for rows, they count from the head, line 1.
        return f"{path.name}:{lines()[number] if len(lines()) == rows else number + 2}"

    frame = _with_small_names(_frame(path, config, parquet), path.name)
    frame, rows = _with_index(frame, config.time.strip().lower()), len(frame)
    columns = _columns(frame, config, path.name, notes)
    if not len(frame):
        raise UserError(f"forecast.path: {path.name} has a head and no rows")
    for name in [*columns.targets, *columns.past, *columns.future]:
        frame[name] = _numbers(frame[name], place)
    return frame, columns, place


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


def _frame(path: Path, config: ForecastConfig, parquet: bool) -> pd.DataFrame:
    try:
        if parquet:
            return pd.read_parquet(path)
        separator = _separator(path, config.encoding)
        frame = pd.read_csv(path, encoding=config.encoding, sep=separator, skipinitialspace=True)
        text = {(config.series or "").strip().lower(), config.time.strip().lower()}
        some = [name for name in frame.columns if str(name).strip().lower() in text]
        if some and isinstance(frame.index, pd.RangeIndex):
            # As it is written: 001 is no 1, and NA, None and null are names.
            written = pd.read_csv(
                path, encoding=config.encoding, sep=separator, skipinitialspace=True, usecols=some,
                dtype=str, keep_default_na=False,
            )  # fmt: skip
            frame = frame.astype(dict.fromkeys(some, object)).assign(**{name: written[name] for name in some})
        return frame
    except LookupError:
        raise UserError(f"forecast.encoding = {config.encoding!r} is unknown; expected utf-8, latin-1, ...") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"forecast.path: {path.name} is not {config.encoding} text (byte 0x{error.object[error.start]:02x}); "
            "set forecast.encoding=latin-1, cp1252 or utf-16"
        ) from None
    except Exception as error:  # whatever a broken file makes pandas or Arrow raise
        raise UserError(f"forecast.path: {path.name} can't be read: {str(error).strip().splitlines()[0]}") from None


def _separator(path: Path, encoding: str) -> str:
    with path.open(encoding=encoding) as file:
        head = next((line for line in file if line.strip()), "")
    return max(",;\t", key=head.count)


def _lines(path: Path, encoding: str) -> list[int]:
    """The line that each row of a CSV begins on: blank ones are no rows, and a quoted text may go on over several."""
    found, before = list[int](), 0
    with path.open(encoding=encoding, newline="") as file, suppress(csv.Error):
        reader = csv.reader(file, delimiter=_separator(path, encoding))
        for row in reader:
            if len(row) > 1 or "".join(row).strip():
                found.append(before + 1)
            before = reader.line_num
    return found[1:]  # after the head


def _with_small_names(frame: pd.DataFrame, file: str) -> pd.DataFrame:
    small = [str(name).strip().lower() for name in frame.columns]
    for (one, first), (other, second) in pairwise(sorted(zip(small, map(str, frame.columns), strict=True))):
        if one == other:
            raise UserError(f"forecast.path: {file} has the columns {first!r} and {second!r}, which are one name to us")
    return frame.set_axis(small, axis=1)


def _with_index(frame: pd.DataFrame, time: str) -> pd.DataFrame:
    """An index with names becomes columns, one without is no column, unless it is the times."""
    levels = [frame.index.get_level_values(k) for k in range(frame.index.nlevels)]
    if isinstance(frame.index, pd.RangeIndex):
        levels = []
    columns = {
        str(level.name).strip().lower() if level.name is not None else time: level
        for level in levels
        if level.name is not None or isinstance(level, pd.DatetimeIndex)
    }
    frame = frame.reset_index(drop=True)
    new = {name: level for name, level in columns.items() if name not in frame.columns}
    frame = pd.concat([pd.DataFrame({n: pd.Series(level) for n, level in new.items()}), frame], axis=1)
    first = str(frame.columns[0]) if len(frame.columns) else ""
    if time not in frame.columns and NAMELESS.fullmatch(first) and not pd.api.types.is_numeric_dtype(frame[first]):
        frame = frame.rename(columns={first: time})  # an index of times that was saved without its name
    return frame


def _columns(frame: pd.DataFrame, config: ForecastConfig, file: str, notes: list[str]) -> Columns:
    roles = dict[str, str]()

    def column(name: str, key: str) -> str:
        small = name.strip().lower()
        if small not in frame.columns:
            hint = did_you_mean(name, map(str, frame.columns))
            raise UserError(
                f"forecast.{key}: {file} has no column {name!r}.{hint} It has {', '.join(map(str, frame.columns))}"
            )
        # Only a target may be something else too: what one series was is known to the others.
        if (before := roles.get(small)) is not None and (before, key) != ("past_covariates", "targets"):
            raise UserError(f"forecast.{key}: {name!r} is in forecast.{before} already; expected another column")
        roles[small] = key
        return small

    time = column(config.time, "time")
    by = column(config.series, "series") if config.series else None
    past = [column(name, "past_covariates") for name in config.past_covariates]
    future = [column(name, "future_covariates") for name in config.future_covariates]
    targets = [column(name, "targets") for name in config.targets]
    if not targets:
        left = [str(name) for name in frame.columns if name not in roles]
        counters = [name for name in left if NAMELESS.fullmatch(name) or (name in COUNTERS and _counts(frame[name]))]
        for name in counters:
            known = (
                "a column without a name" if NAMELESS.fullmatch(name) else f"the column {name!r}, which counts rows,"
            )
            notes.append(f"{known} is left out (forecast.targets names those to forecast)")
        targets = [name for name in left if name not in counters]
    if not targets:
        raise UserError(f"forecast.path: {file} has no column to forecast beside {time!r}")
    return Columns(time, by, targets, past, future)


def _counts(column: pd.Series) -> bool:
    """Whether it only counts rows."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    return bool(len(numbers) > 1 and (np.diff(numbers) == 1).all() and numbers[0] in (0, 1))


def _numbers(column: pd.Series, place: Place) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    bad = column.index[numbers.isna() & column.notna()]
    if len(bad):
        raise UserError(f"{place(bad[0])}: {column.name} = {column[bad[0]]!r} is no number")
    return numbers.astype(np.float64).replace([np.inf, -np.inf], np.nan)
