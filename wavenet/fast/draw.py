"""A sample drawn from what the network says, with uniform numbers that are given: all ways to generate draw alike."""

from __future__ import annotations

import math

import numba
import numpy as np


@numba.njit(fastmath=True, error_model="numpy")
def draw_class(logits, classes, uniform, coldness, top_k, scratch):  # type: ignore[no-untyped-def]
    """A class by inverse transform: the first whose cumulated probability passes `uniform`.

    `coldness` is 1 / temperature; only the `top_k` likeliest classes are drawn from. `scratch` [classes] float32.
    """
    highest = logits[0]
    for i in range(1, classes):
        highest = max(highest, logits[i])
    least = np.float32(-np.inf)
    if top_k < classes:
        least = np.sort(logits[:classes])[classes - top_k]
    total = np.float32(0)
    for i in range(classes):
        p = math.exp((logits[i] - highest) * coldness) if logits[i] >= least else np.float32(0)
        scratch[i] = p
        total += p
    left = uniform * total
    last = 0
    for i in range(classes):
        if scratch[i] > 0:
            last = i
            left -= scratch[i]
            if left < 0:
                return i
    return last


@numba.njit(fastmath=True, error_model="numpy")
def draw_logistic(expected, mixtures, uniform, other, temperature, top_k, scratch):  # type: ignore[no-untyped-def]
    """A number in [-1, 1] from a mixture [3M]: `uniform` chooses the logistic, `other` the place in it.

    Scales are multiplied by `temperature`; only the `top_k` likeliest logistics are chosen from.
    """
    which = draw_class(expected, mixtures, uniform, np.float32(1), top_k, scratch)
    scale = math.exp(max(expected[2 * mixtures + which], np.float32(-14.0))) * temperature
    place = min(max(other, np.float32(1e-5)), np.float32(1 - 1e-5))
    x = expected[mixtures + which] + scale * (math.log(place) - math.log(1 - place))
    return min(max(x, np.float32(-1)), np.float32(1))
