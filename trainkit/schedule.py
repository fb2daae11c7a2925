"""Values that change over a run's steps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

Points = Sequence[tuple[int, float]]  # (step, value), steps rising


def warm_up_and_cosine(step: int, steps: int, warmup_steps: int, final: float) -> float:
    """Part of the full rate at `step` of `steps`: rising for `warmup_steps`, then half a cosine down to `final`."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(steps - warmup_steps, 1)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def piecewise_linear(step: int, points: Points) -> float:
    """The value at `step`: straight lines from point to point, the first value before them, the last one after."""
    first, last = points[0], points[-1]
    if step <= first[0]:
        return first[1]
    if step >= last[0]:
        return last[1]
    (before, low), (after, high) = next(p for p in itertools.pairwise(points) if step < p[1][0])
    return low + (high - low) * (step - before) / (after - before)


def check_points(points: Points) -> None:
    """ValueError unless the steps rise from point to point."""
    steps = [step for step, _ in points]
    if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
        raise ValueError(f"a schedule's steps must rise from point to point; expected that of {steps}")
