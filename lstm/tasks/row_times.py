"""Times of steps to come where each row is a step: they follow the rows' own calendar, or there are none."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lstm.tasks.grid import found_frequency

MOST = 0.9  # of the rows must keep to a rule for it to be theirs


def following(times: pd.DatetimeIndex, count: int) -> pd.DatetimeIndex | None:
    """The next `count` times after rising ones [N]: equal steps, a market's hours and weekdays, or a day of the month.

    Where times have a zone, rules are of local time, but equal steps shorter than a day are of UTC: an hour is an hour
    when the clocks change. None where the rows keep to no rule, and where there are fewer than three.
    """
    if len(times) < 3:
        return None
    zone, local = times.tz, times.tz_localize(None)
    gaps = np.diff(local.asi8)
    equal, step = bool((gaps == gaps[0]).all()), times[-1] - times[-2]
    if zone is not None and (step < pd.Timedelta(days=1) or not equal) and len(np.unique(np.diff(times.asi8))) == 1:
        return pd.DatetimeIndex([times[-1] + k * step for k in range(1, count + 1)])
    if equal:
        found = pd.DatetimeIndex([local[-1] + k * (local[-1] - local[-2]) for k in range(1, count + 1)])
    else:
        days = pd.DatetimeIndex(local.normalize().unique())
        clocks = _clocks(local, days)
        coming = None if clocks is None else _days(days, count)
        if clocks is None or coming is None:
            return None
        slots = pd.DatetimeIndex([day + clock for day in [days[-1], *coming] for clock in clocks])
        found = slots
    if zone is not None:
        found = found.tz_localize(zone, ambiguous=np.ones(len(found), bool), nonexistent="shift_forward").unique()
    return found[found > times[-1]][:count]


def _clocks(times: pd.DatetimeIndex, days: pd.DatetimeIndex) -> pd.TimedeltaIndex | None:
    """The times of day that most days have, where nearly all rows are at one of them."""
    of_day = pd.Series(times - times.normalize()).value_counts()
    usual = of_day[of_day >= len(days) / 2]
    if usual.sum() < MOST * len(times) or usual.sum() < MOST * len(usual) * len(days):
        return None
    return pd.TimedeltaIndex(usual.index).sort_values()


def _days(days: pd.DatetimeIndex, count: int) -> pd.DatetimeIndex | None:
    """The next `count` days: weekdays that rows lie on, a day of the month, or a regular step."""
    if len(days) < 3:
        return None
    weekdays = pd.Series(days.day_of_week).value_counts()
    usual = set(weekdays.index[weekdays >= weekdays.max() / 2])
    later = pd.date_range(days[0], days[-1] + pd.Timedelta(days=7 * count + 7))
    open_days = later[later.day_of_week.isin(usual)]
    between = open_days[open_days <= days[-1]]
    if days.isin(open_days).mean() >= MOST and len(days) >= MOST * len(between):
        return open_days[open_days > days[-1]][:count]
    months = days.year * 12 + days.month
    apart = np.diff(months)
    step = int(np.median(apart))
    ends = bool(days.is_month_end.all())
    same = ends or (days.day == days[-1].day).mean() >= MOST
    if step > 0 and same and (apart == step).mean() >= MOST:
        return pd.DatetimeIndex([
            days[-1] + (pd.offsets.MonthEnd(k * step) if ends else pd.DateOffset(months=k * step))
            for k in range(1, count + 1)
        ])  # fmt: skip
    frequency = found_frequency(days[-12:])
    if frequency is None:
        return None
    regular = pd.date_range(days[0], days[-1], freq=frequency)
    if len(regular) > 2 * len(days) or days.isin(regular).mean() < MOST or regular.isin(days).mean() < MOST:
        return None
    return pd.date_range(days[-1], periods=count + 1, freq=frequency)[1:]
