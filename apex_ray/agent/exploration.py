"""How much each environment explores, and how it does."""

from __future__ import annotations

import numpy as np

from apex_ray.config.schema import ActorsConfig
from apex_ray.types import FloatArray, IntArray
from trainkit.schedule import Points, piecewise_linear


def epsilon_ladder(num_envs: int, base: float, alpha: float) -> FloatArray:
    """epsilon_i = base^(1 + alpha i / (N - 1)) for i in 0..N-1 (Horgan et al. 2018, section 4.1); float32 [N].

    One environment alone gets `base`.
    """
    position = np.arange(num_envs) / max(num_envs - 1, 1)
    return np.asarray(base ** (1 + alpha * position), np.float32)


def epsilons_of(config: ActorsConfig, actors: int) -> FloatArray:
    """The ladder of a run with so many actors."""
    return epsilon_ladder(actors * config.envs_per_actor, config.epsilon_base, config.epsilon_alpha)


def actor_epsilons(actor: int, num_actors: int, envs_per_actor: int, base: float, alpha: float) -> FloatArray:
    """The rungs of one actor, float32 [E]: every num_actors-th one, so that each actor spans the whole ladder.

    Losing an actor then thins the exploration evenly instead of cutting off one end of it.
    """
    return epsilon_ladder(num_actors * envs_per_actor, base, alpha)[actor::num_actors]


def epsilons_now(rungs: FloatArray, schedule: Points, updates: int) -> FloatArray:
    """float32 [E]: each environment's rung of the ladder, or what the schedule has at least after so many updates."""
    if not schedule:
        return rungs
    return np.maximum(rungs, np.float32(piecewise_linear(updates, schedule)))


def epsilon_greedy(q_values: FloatArray, epsilons: FloatArray | float, rng: np.random.Generator) -> IntArray:
    """Actions int64 [E] from q_values [E, A]: uniform with probability epsilons [E], else greedy.

    An action whose value is -inf, which is what illegal ones have (`masked`), is never taken.
    """
    count, num_actions = q_values.shape
    legal = ~np.isneginf(q_values)
    if legal.all():
        random_actions = rng.integers(num_actions, size=count)
    else:
        ranks = rng.integers(legal.sum(axis=1))  # which of the legal ones
        random_actions = (legal.cumsum(axis=1) > ranks[:, None]).argmax(axis=1)
    explore = rng.random(count) < epsilons
    return np.where(explore, random_actions, q_values.argmax(1))
