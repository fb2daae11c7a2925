"""Which limit of `stop` a run has reached."""

from __future__ import annotations

import math

from apex_ray.config.schema import StopConfig
from apex_ray.types import Counters


def reached(stop: StopConfig, c: Counters, evaluation_return: float | None) -> str | None:
    """Why a run of those counters, whose last evaluation gave that mean, is to stop; None where it is not."""
    if stop.after_s is not None and c.time_s >= stop.after_s:
        return f"stop.after_s = {stop.after_s:,.12g}"
    if stop.after_frames is not None and c.frames >= stop.after_frames:
        return f"stop.after_frames = {stop.after_frames:,}"
    if stop.after_updates is not None and c.updates >= stop.after_updates:
        return f"stop.after_updates = {stop.after_updates:,}"
    if stop.evaluation_return is not None and evaluation_return is not None:
        if evaluation_return < stop.evaluation_return:
            return None
        limit = f"stop.evaluation_return = {stop.evaluation_return:g}"
        return f"an evaluation reached {evaluation_return:.2f} ({limit})"
    return None


def met_before(stop: StopConfig, c: Counters) -> list[tuple[str, str]]:
    """Each limit that a run of those counters has reached, and a setting with which it can be resumed."""
    totals = [
        ("after_s", stop.after_s, c.time_s, f"{c.time_s:,.0f} seconds of training"),
        ("after_frames", stop.after_frames, c.frames, f"{c.frames:,} frames"),
        ("after_updates", stop.after_updates, c.updates, f"{c.updates:,} updates"),
        ("evaluation_return", stop.evaluation_return, c.best_return, f"an evaluation of {c.best_return or 0:.2f}"),
    ]
    met = []
    for key, limit, reached, words in totals:
        if limit is None or reached is None or reached < limit:
            continue
        more = "null" if key == "evaluation_return" else str(2 * math.ceil(reached))
        met.append((f"stop.{key} = {limit:,.12g} ({words})", f"stop.{key}={more}"))
    return met
