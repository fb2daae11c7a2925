"""What the calendar says of each step of a series: where in the year, the week and the day it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from lstm.tasks.table import Floats

Steps = npt.NDArray[np.int64]  # numbers of steps


def calendar(times: pd.DatetimeIndex) -> Floats:
    """Sine and cosine of where in the year, week and day each time is, where the steps are fine enough for it."""
    if len(times) < 2:
        return np.zeros((len(times), 0))
    step_s = float(np.median(np.diff(times.to_numpy("datetime64[s]").astype(np.int64))))
    day = times.day_of_year.to_numpy() - 1 + (hour := times.hour.to_numpy() + times.minute.to_numpy() / 60) / 24
    cycles = [(day / 365.2425, 182 * 86_400), (times.day_of_week.to_numpy() / 7, 86_400 * 3), (hour / 24, 6 * 3_600)]
    angles = [2 * np.pi * part for part, coarsest in cycles if step_s <= coarsest]
    return np.stack([f(a) for a in angles for f in (np.sin, np.cos)], 1) if angles else np.zeros((len(times), 0))


def extended(rows: Floats, times: pd.DatetimeIndex, steps: Steps, frequency: str | None) -> Floats:
    """Calendar rows of steps, also of those after the last time."""
    beyond = int(steps[-1]) - len(times) + 1
    if beyond > 0:
        later = pd.date_range(times[-1], periods=beyond + 1, freq=frequency)[1:]
        both = calendar(times.append(later))
        rows = both if both.shape[1] == rows.shape[1] else rows
    return rows[np.clip(steps, 0, len(rows) - 1)]
