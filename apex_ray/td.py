"""The maths of the learning target, used by actor and learner alike: plain functions of arrays, no state.

Every function takes NumPy arrays or torch tensors; only arithmetic and indexing that both share is used, so the actor's
initial priorities and the learner's errors come from one definition.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from apex_ray.types import AnyArray, ByteArray, Float64Array, FloatArray

Array = TypeVar("Array")

# What happened on the step that left a position of a stream.
CONTINUES, TERMINAL, TRUNCATED, RESET = 0, 1, 2, 3


def clip_rewards(rewards: AnyArray, limit: float | None) -> FloatArray:
    """Rewards limited to [-limit, limit] (Mnih et al. 2015); unchanged for None."""
    values = np.asarray(rewards, np.float32)
    return values if limit is None else np.clip(values, -limit, limit)


def n_step_returns(
    rewards: FloatArray, kinds: ByteArray, n_step: int, discount: float
) -> tuple[FloatArray, FloatArray, ByteArray]:
    """n-step returns of every position whose window fits (Horgan et al. 2018, eq. 1, with windows cut at episode ends).

    A window ends early after a TERMINAL step (nothing follows: discount 0) and after a TRUNCATED one (the final state
    still has a value: discount gamma^m), so it never crosses an episode's end and the last n - 1 steps of an episode
    keep their shorter returns.

    Args:
        rewards: float32 [E, T + n - 1], reward of the step that left each position, already clipped.
        kinds: uint8 [E, T + n - 1], CONTINUES, TERMINAL, TRUNCATED or RESET (an autoreset step, no transition).
        n_step: n.
        discount: gamma.

    Returns:
        returns float32 [E, T], discounts float32 [E, T] (gamma^m or 0), steps uint8 [E, T] (m). At a RESET position
        they mean nothing.

    """
    streams, length = rewards.shape
    horizon = length - n_step + 1
    returns = np.zeros((streams, horizon), np.float64)
    discounts = np.ones((streams, horizon), np.float64)
    steps = np.zeros((streams, horizon), np.uint8)
    open_ = np.ones((streams, horizon), bool)  # windows that no episode end has closed
    terminal = np.zeros((streams, horizon), bool)
    for k in range(n_step):
        kind = kinds[:, k : k + horizon]
        returns += np.where(open_, discounts * rewards[:, k : k + horizon], 0.0)
        discounts = np.where(open_, discounts * discount, discounts)
        steps += open_
        terminal |= open_ & (kind == TERMINAL)
        open_ &= kind == CONTINUES
    discounts[terminal] = 0.0
    return returns.astype(np.float32), discounts.astype(np.float32), steps


def td_target(returns: Array, discounts: Array, bootstrap_values: Array, rescaling: float | None = None) -> Array:
    """R + gamma^m * V(s_{t+m}); all arguments have one shape.

    With `rescaling` values are h(value) of `rescaled`: h(R + gamma^m * h^-1(V)) (Pohlen et al. 2018).
    """
    if rescaling is None:
        return returns + discounts * bootstrap_values  # type: ignore[operator,no-any-return]
    return rescaled(returns + discounts * unrescaled(bootstrap_values, rescaling), rescaling)  # type: ignore[operator,no-any-return]


def rescaled(values: Array, epsilon: float) -> Array:
    """h(x) = sign(x) (sqrt(|x| + 1) - 1) + epsilon x (Pohlen et al. 2018, Proposition A.1): smaller targets for large
    returns, without clipping rewards.
    """
    x: Any = values
    # The root less one, written so that nothing cancels where x is small.
    return x / ((abs(x) + 1) ** 0.5 + 1) + epsilon * x  # type: ignore[no-any-return]


def unrescaled(values: Array, epsilon: float) -> Array:
    """The inverse of `rescaled`: sign(x) (z^2 - 1), z = (sqrt(1 + 4 epsilon (|x| + 1 + epsilon)) - 1) / (2 epsilon)."""
    x: Any = values
    over = 1 + epsilon + abs(x)
    z = 2 * over / ((1 + 4 * epsilon * over) ** 0.5 + 1)
    sign = (x > 0) * 1.0 - (x < 0) * 1.0
    return sign * (z - 1) * (z + 1)  # type: ignore[no-any-return]


def importance_weights(probabilities: Float64Array) -> FloatArray:
    """(N P(i))^-1, divided by the batch's largest: of beta = 1 (Schaul et al. 2016, section 3.4). Those of another beta
    are these to its power. N, the transitions in replay, cancels out.

    `probabilities`: float64 [B], with which each sample was drawn among all of replay.
    """
    weights: FloatArray = (probabilities.min() / probabilities).astype(np.float32)
    return weights
