"""Regular steps of time: how far they are apart, and rows put on them, with those that are missing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from trainkit.errors import UserError

# Steps until the pattern comes again, by the head of pandas' name for the frequency.
SEASONS = {"min": 24 * 60, "h": 24, "D": 7, "B": 5, "W": 52, "M": 12, "Q": 4, "Y": 1}
MOST_STEPS = 10_000_000  # of one series
Place = Callable[[object], str]  # where a row is in its file, for messages: 'sales.csv:12'


def shown(time: pd.Timestamp) -> str:
    """For messages; without the time of day where it is midnight."""
    return f"{time:%Y-%m-%d}" if time == time.normalize() else f"{time:%Y-%m-%d %H:%M:%S%z}"


def found_frequency(times: pd.DatetimeIndex, look: int = 12) -> str | None:
    """The name (pandas) of the steps of the first unbroken stretch of rising times, so that gaps do not matter."""
    look = min(look, len(times))
    for first in range(0, max(len(times) - look + 1, 1), max(look // 2, 1)):
        stretch = times[first : first + look]
        if len(stretch) >= 3 and (found := pd.infer_freq(stretch)):
            return str(getattr(found, "freqstr", found))
    return None


def given_frequency(name: str) -> str:
    """The name, when pandas knows it. UserError otherwise."""
    try:
        known = pd.tseries.frequencies.to_offset(name)
    except ValueError:
        known = None
    if known is None or known.n < 1:
        raise UserError(f"forecast.frequency = {name!r} is unknown; expected such as h, D, B, W, MS, QS, YS or 15min")
    return name


def season_of(frequency: str | None) -> int:
    """Steps until the pattern comes again."""
    if frequency is None:
        return 1
    offset = pd.tseries.frequencies.to_offset(frequency)
    name = str(offset.rule_code).split("-")[0]
    name = {"MS": "M", "ME": "M", "BMS": "M", "BME": "M", "QS": "Q", "QE": "Q", "YS": "Y", "YE": "Y"}.get(name, name)
    return max(SEASONS.get(name, 1) // int(offset.n), 1)


def steps_between(first: pd.Timestamp, last: pd.Timestamp, frequency: str) -> int:
    """About how many steps lie from one time to the other, both included, without making them."""
    some = 100
    try:
        step = (first + some * pd.tseries.frequencies.to_offset(frequency) - first) / some
    except (OverflowError, pd.errors.OutOfBoundsDatetime):
        return 1
    return int((last - first) / step + 0.5) + 1


def covers(times: pd.DatetimeIndex) -> bool:
    """Whether the rising `times` have regular steps of which most have a row."""
    frequency = found_frequency(times)
    return frequency is not None and steps_between(times[0], times[-1], frequency) <= 2 * len(times)


def on_grid(
    part: pd.DataFrame, frequency: str | None, given: bool, whose: str, file: str, place: pd.Series, notes: list[str]
) -> pd.DataFrame:
    """Rows, indexed by rising times, with a row for every step of `frequency`; `place` is where each row is in `file`.

    UserError where times lie between the steps, where the steps would be too many to hold, and, unless the frequency
    was `given`, where most of them have no row: then dates were probably read as others than they are.
    """
    times = pd.DatetimeIndex(part.index)
    if frequency is None:
        raise UserError(
            f"{file}: no regular step between the times{whose}; set forecast.frequency (D, W, MS, h, ...), or "
            "forecast.steps=rows to take each row as a step"
        )
    about = steps_between(times[0], times[-1], frequency)
    if about > (MOST_STEPS if given else min(2 * len(times) + 2, MOST_STEPS)):
        raise UserError(
            f"{file}: {about:,} steps of {frequency!r}{whose} for {len(times):,} rows, the first two at "
            f"{shown(times[0])} and {shown(times[1])}; {_stretched(times, place)}. Mend that row, or set "
            f"forecast.time_format if dates are read as others than they are, forecast.frequency"
            f"{' to a longer step' if given else f', be it {frequency}, if that is the step'}, or forecast.steps=rows "
            "to take each row as a step"
        )
    grid = pd.date_range(times[0], times[-1], freq=frequency)
    off = times.difference(grid)
    if len(off):
        raise UserError(
            f"{place[off[0]]}: {shown(off[0])}{whose} does not lie on steps of {frequency!r} from "
            f"{shown(times[0])}; set forecast.frequency, or forecast.steps=rows to take each row as a step"
        )
    if len(grid) > len(part):
        notes.append(f"{len(grid) - len(part):,} of {len(grid):,} steps{whose} have no row: taken as unknown")
    return part.reindex(grid)


def _stretched(times: pd.DatetimeIndex, place: pd.Series) -> str:
    """The row at the widest gap, on the side of the fewer rows."""
    after = int(np.argmax(np.diff(times.asi8))) + 1
    alone, other = (times[after - 1], times[after]) if after <= len(times) - after else (times[after], times[after - 1])
    return f"the widest gap is from {shown(alone)} ({place[alone]}) to {shown(other)} ({place[other]})"
