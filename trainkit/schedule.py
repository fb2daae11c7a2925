"""The learning rate over a run's steps."""

from __future__ import annotations

import math


def warm_up_and_cosine(step: int, steps: int, warmup_steps: int, final: float) -> float:
    """Part of the full rate at `step` of `steps`: rising for `warmup_steps`, then half a cosine down to `final`."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(steps - warmup_steps, 1)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
