"""Initial priorities, from Q-values that the actor has computed anyway to choose its actions."""

from __future__ import annotations

import numpy as np

from apex_ray.td import PRIORITY_FLOOR, RESET, td_target
from apex_ray.types import ByteArray, Float64Array, FloatArray, IntArray


def initial_priorities(
    q_values: FloatArray,
    actions: IntArray,
    returns: FloatArray,
    discounts: FloatArray,
    steps: ByteArray,
    kinds: ByteArray,
) -> Float64Array:
    """|TD error| of a chunk's transitions by the actor's own network (Horgan et al. 2018, algorithm 1, line 10).

    Args:
        q_values: float32 [E, T + n, A], of each position when it was visited.
        actions: int64 [E, T].
        returns: float32 [E, T], from `td.n_step_returns`, as are
        discounts: float32 [E, T], and
        steps: uint8 [E, T].
        kinds: uint8 [E, T]; RESET positions are no transitions.

    Returns:
        float64 [E, T]: at least PRIORITY_FLOOR for a transition, exactly 0 for an autoreset step.

    """
    horizon = actions.shape[1]
    taken = np.take_along_axis(q_values[:, :horizon], actions[..., None], axis=2)[..., 0]
    best = q_values.max(axis=2)
    bootstrap = np.take_along_axis(best, np.arange(horizon) + steps.astype(np.int64), axis=1)
    errors = td_target(returns, discounts, bootstrap) - taken
    priorities = np.abs(errors).astype(np.float64) + PRIORITY_FLOOR
    priorities[kinds == RESET] = 0.0
    return priorities
