"""Which limit of `stop` a run has reached."""

from __future__ import annotations

from apex_ray.config.schema import StopConfig
from apex_ray.learner.checkpoint import Counters


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
