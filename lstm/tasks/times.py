"""A column of times, however it is written; what can be read in two ways is refused with both."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

import pandas as pd

from lstm.config import UNIX
from lstm.tasks.grid import Place, covers, shown
from trainkit.errors import UserError

# What whole numbers of so many digits can mean.
DIGITS = {
    4: ["%Y"], 6: ["%Y%m", "%y%m%d"], 8: ["%Y%m%d", "%d%m%Y", "%m%d%Y"], 10: ["unix_s", "%Y%m%d%H"],
    12: ["%Y%m%d%H%M"], 13: ["unix_ms"], 14: ["%Y%m%d%H%M%S"], 16: ["unix_us"], 19: ["unix_ns"],
}  # fmt: skip
YEARS = (1000, 2999)
FIGURES = r"^(\d{1,2})\s*([./-])\s*(\d{1,2})\s*\2\s*(\d{4}|\d{2})(?!\d)[,\s]*(.*)$"  # 31/12/2001, 31.12.01 13:45
MONTH_AND_YEAR = re.compile(r"^[A-Za-z]{3,9}[-' ]+\d{2}$")  # Dec-01
# After a time of day, which is what stands after a date: 2001-10 is a month.
OFFSET = r"(?i)(?:(?<=\d)T\d{2}|[T\s,]\d{1,2}:?\d{2}(?::?\d{2}(?:[.,]\d+)?)?)\s*(Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)$"
CLOCK = re.compile(r"^\d{1,2}:\d{2}(:\d{2})?$")
PIVOT = 69  # years of two figures below it are of this century, as strptime has it
# strptime's spelling of a time of day, by how it looks with every number as 00.
CLOCKS = {
    "00:00": "%H:%M", "00:00:00": "%H:%M:%S", "00:00:00.00": "%H:%M:%S.%f",
    "00:00 AM": "%I:%M %p", "00:00:00 AM": "%I:%M:%S %p",
}  # fmt: skip


def read_times(column: pd.Series, format: str | None, zone: str | None, place: Place, notes: list[str]) -> pd.Series:
    """Times, all with a zone or all without. UserError, with the row, for what is no time or could be two.

    `format`: strptime's, or one of UNIX; None: found from the whole column. Times with offsets are in `zone`, else in
    the zone of their own offset; where offsets change, that of the last one, but dates become local ones without a
    zone. Times without offsets stay without a zone: `localized` gives them one. Unix times are in `zone`, else without
    one as UTC's.
    """
    if isinstance(column.dtype, pd.PeriodDtype):
        column = column.dt.to_timestamp()
    if pd.api.types.is_datetime64_any_dtype(column):
        times = _whole(column, column, column.name, place)
        return times if times.dt.tz is None or zone is None else times.dt.tz_convert(zone)
    text = _text(column)
    if format is not None:
        times = _formatted(text, format, zone)
        wanted = f"expected times as in forecast.time_format = {format}"
        if format in UNIX:
            return _whole(times, column, column.name, place, wanted)
        return _in_one_zone(_whole(times, column, column.name, place, wanted), text, zone, place, notes)
    if text.str.fullmatch(r"\d+").all():
        return _whole(_of_digits(text, zone, place), column, column.name, place)
    figures = text.str.extract(FIGURES)
    some = figures[0].notna()
    full = text.mask(text.str.match(CLOCK), "")  # that would be a time of today
    if some.any():
        full = full.mask(some, _of_figures(text[some], figures[some], place))
    short = full.str.match(MONTH_AND_YEAR)
    full = full.mask(short, "1 " + full.str.replace(r"[-' ]+(\d{2})$", lambda m: f" {_year(m[1])}", regex=True))
    times = _parsed(full, utc=bool(_offsets(text).notna().any()))
    return _in_one_zone(_whole(times, column, column.name, place), text, zone, place, notes)


def localized(times: pd.Series, zone: str | None, place: Place) -> pd.Series:
    """Local times of one series in their zone; the hour that autumn repeats is told apart by the order of the rows.

    The rows of such a day are in order, rising or falling. UserError where they are not, or have that hour once.
    """
    if zone is None or times.dt.tz is not None:
        return times
    unknown = times.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").isna()
    if not unknown.any():
        return times.dt.tz_localize(zone)
    steps = times.diff()
    falling = (steps < pd.Timedelta(0)).sum() > (steps > pd.Timedelta(0)).sum()
    days = times.dt.normalize()
    try:
        found = (times[::-1] if falling else times).dt.tz_localize(zone, ambiguous="infer")
        unclear = found[days.isin(days[unknown])]
        if not unclear.groupby(days).apply(lambda day: day.is_monotonic_increasing).all():
            raise ValueError
        return found.reindex(times.index)
    except ValueError:
        lone = unknown & ~times.duplicated(keep=False)  # a time that is there twice is seldom what is wrong
        row = times.index[lone if lone.any() else unknown][0]
        raise UserError(
            f"{place(row)}: {shown(times[row])} is no time, or one of two, in forecast.time_zone = {zone}; expected "
            "local times of that zone, or times with their offset, such as 2001-10-28T02:00+01:00"
        ) from None


def _text(column: pd.Series) -> pd.Series:
    """As it is written; whole numbers without a point."""
    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")
    return column.astype(object).where(column.notna(), "").astype(str).str.strip()


def _whole(
    times: pd.Series, column: pd.Series, name: object, place: Place, wanted: str = "expected such as 2001-12-31"
) -> pd.Series:
    if times.isna().any():
        row = column.index[times.isna()][0]
        raise UserError(f"{place(row)}: {name} = {column[row]!r} is no time; {wanted}")
    return times


def _parsed(text: pd.Series, utc: bool = False) -> pd.Series:
    try:
        times = pd.to_datetime(text, errors="coerce", format="mixed", utc=utc)
    except ValueError:  # offsets that OFFSET does not know, of two kinds
        times = pd.to_datetime(text, errors="coerce", format="mixed", utc=True)
    return times.where(times.dt.year.between(*YEARS))  # parts that were not there are made up as of the year 1


def _formatted(text: pd.Series, format: str, zone: str | None = None) -> pd.Series:
    if format in UNIX:
        numbers = pd.to_numeric(text, errors="coerce")
        times = pd.to_datetime(numbers, unit=format.removeprefix("unix_"), errors="coerce", utc=True)
        return times.dt.tz_convert(zone)  # without one: UTC's, and none of them says so
    times = pd.to_datetime(text, format=format, errors="coerce", utc="%z" in format or "%Z" in format)
    return times.where(times.dt.year.between(*YEARS))


def _year(two: str) -> int:
    """That two figures mean."""
    return int(two) + (2000 if int(two) < PIVOT else 1900)


def _of_digits(text: pd.Series, zone: str | None, place: Place) -> pd.Series:
    lengths = text.str.len()
    meanings = DIGITS.get(int(lengths.iloc[0]), []) if lengths.nunique() == 1 else []
    readings = {format: _formatted(text, format, zone) for format in meanings}
    found = _the_one(readings, text, place)
    if found is not None:
        return found
    first, last = text.iloc[0], text.iloc[-1]
    raise UserError(
        f"{place(text.index[0])}: the times are numbers, {first} to {last}, that are no years (2001), months (200112), "
        "days (20011231) or Unix times of 10, 13, 16 or 19 digits; set forecast.time_format to unix_s, unix_ms, "
        "unix_us, unix_ns or a format such as %y%m%d"
    )


def _of_figures(text: pd.Series, figures: pd.DataFrame, place: Place) -> pd.Series:
    """Dates such as 1/2/2001 as text with the year first; day and month are told apart by the whole column."""
    a, mark, b, c, rest = (figures[k] for k in range(5))
    two = c.str.len().eq(2)
    years = c.mask(two, c.map(lambda y: f"{_year(y)}"))
    clock = " " + rest
    orders = {"%d{0}%m{0}": (years, b, a), "%m{0}%d{0}": (years, a, b)}
    formats = {f.format(mark.iloc[0]) + ("%y" if two.all() else "%Y"): parts for f, parts in orders.items()}
    if two.all():
        first = a.map(lambda y: f"{_year(y)}")
        formats["%y{0}%m{0}%d".format(mark.iloc[0])] = (first, b, c)
    joint = str(text.iloc[0]).removesuffix(rest.iloc[0]).rpartition(c.iloc[0])[2]  # such as ", "
    looks = re.sub(r"\d+", "00", rest.iloc[0]).upper().replace("PM", "AM")
    after = joint + CLOCKS.get(looks, "...") if looks else ""
    spelled = {f + after: y + "-" + m.str.zfill(2) + "-" + d.str.zfill(2) + clock for f, (y, m, d) in formats.items()}
    utc = bool(_offsets(clock).notna().any())
    readings = {f: _parsed(some, utc) for f, some in spelled.items()}
    found = _the_one(readings, text, place)
    if found is None:
        return text  # there is a row that is no date in any order: parsing tells it
    return next(spelled[f] for f, times in readings.items() if times is found)


def _the_one(readings: Mapping[str, pd.Series], text: pd.Series, place: Place) -> pd.Series | None:
    """The reading under which every row is a time; of several, the one whose times have regular steps.

    None when there is none. UserError when several do.
    """
    able = {f: times for f, times in readings.items() if times.notna().all()}
    if len(able) < 2:
        return next(iter(able.values()), None)
    regular = {f: times for f, times in able.items() if covers(pd.DatetimeIndex(times.unique()).sort_values())}
    if len(regular) == 1 or text.nunique() == 1:
        return next(iter((regular or able).values()))
    first = text.index[0]
    second = text.index[text != text[first]][0]
    ways = " or ".join(f"{shown(t[first])} and {shown(t[second])} ({f})" for f, t in (regular or able).items())
    # With a time of day that is written in a way of its own, what we read is no format of strptime's.
    known = next((f for f in regular or able if _formatted(text, f).notna().all()), None)
    raise UserError(
        f"{place(first)}: the dates can be read in more than one way: {text[first]!r} and {text[second]!r} are {ways}; "
        f"set forecast.time_format{'' if known is None else f', such as forecast.time_format={known!r}'}"
    )


def _in_one_zone(times: pd.Series, text: pd.Series, zone: str | None, place: Place, notes: list[str]) -> pd.Series:
    """UTC times in their own zone, when there is one; local times where offsets change and all are of one hour."""
    if times.dt.tz is None:
        return times
    offsets = _offsets(text)
    if offsets.isna().any():
        row = text.index[offsets.isna()][0]
        raise UserError(
            f"{place(row)}: {text[row]!r} has no offset from UTC that we can read, but other rows have one; expected "
            "times such as 2001-10-28T02:00+01:00 in all rows, or none with an offset"
        )
    if zone is not None:
        return times.dt.tz_convert(zone)
    ahead = offsets.map({o: _offset(o) for o in offsets.unique()})
    if ahead.nunique() == 1:
        return times.dt.tz_convert(timezone(ahead.iloc[0]))
    local = times.dt.tz_localize(None) + ahead
    hint = "forecast.time_zone (such as Europe/Berlin) says the zone"
    if (local - local.dt.normalize()).nunique() == 1:
        notes.append(f"offsets from UTC change: dates are the local ones, and written so; {hint}")
        return local
    last = ahead[times.idxmax()]
    notes.append(f"offsets from UTC change: times are written with the last one; {hint}")
    return times.dt.tz_convert(timezone(last))


def _offsets(text: pd.Series) -> pd.Series:
    return text.str.extract(OFFSET)[0]


def _offset(text: str) -> timedelta:
    if text.upper() in ("Z", "UTC", "GMT"):
        return timedelta(0)
    return datetime.strptime(text if len(text) > 3 else text + "00", "%z").utcoffset() or timedelta(0)
