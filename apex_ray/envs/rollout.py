"""Full episodes of a fixed policy, and the pictures of one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from apex_ray.envs.base import VectorEnv
from apex_ray.types import AnyArray, FloatArray, StageEnd, Step

QFunction = Callable[[AnyArray], FloatArray]  # observations [E, S, *F] -> Q-values [E, A]


@dataclass
class Episodes:
    returns: list[float] = field(default_factory=list)  # unclipped, in the order in which the episodes ended
    lengths_steps: list[int] = field(default_factory=list)
    stages: list[StageEnd] = field(default_factory=list)  # where the environments have stages
    best: tuple[int, int] = (0, 0)  # (environment, its how manieth episode) of the highest return


def _steps(envs: VectorEnv, q_function: QFunction, epsilon: float, seed: int) -> Iterator[Step]:
    """Endless epsilon-greedy play, the same every time for the same policy and seed. The first step is the reset."""
    rng = np.random.default_rng(seed)
    count = envs.num_envs
    nothing = np.zeros(count, bool)
    step = Step(envs.reset(seed), np.zeros(count, np.float32), nothing, nothing, nothing, first=np.ones(count, bool))
    while True:
        yield step
        q_values = q_function(step.observations)
        explore = rng.random(count) < epsilon
        random_actions = rng.integers(q_values.shape[1], size=count)
        envs.send(np.where(explore, random_actions, q_values.argmax(1)))
        step = envs.recv()


def play_episodes(envs: VectorEnv, q_function: QFunction, episodes: int, epsilon: float, seed: int) -> Episodes:
    """Play exactly `episodes` whole episodes and return their unclipped returns.

    Each environment has its quota from the start: taking whichever episodes end first would favour short ones.
    """
    count = envs.num_envs
    quota = np.full(count, episodes // count) + (np.arange(count) < episodes % count)
    played, returns, lengths = np.zeros(count, np.int64), np.zeros(count), np.zeros(count, np.int64)
    out = Episodes()
    for step in _steps(envs, q_function, epsilon, seed):
        returns += step.rewards
        lengths += 1
        returns[step.first], lengths[step.first] = 0.0, 0
        for e in np.flatnonzero((step.terminated | step.truncated) & (played < quota)):
            if returns[e] > max(out.returns, default=-np.inf):
                out.best = (int(e), int(played[e]))
            out.returns.append(float(returns[e]))
            out.lengths_steps.append(int(lengths[e]))
            if int(e) in step.ends:
                out.stages.append(step.ends[int(e)])
            played[e] += 1
        if (played == quota).all():
            break
    return out


def replay_episode(
    envs: VectorEnv, q_function: QFunction, epsilon: float, seed: int, episode: tuple[int, int]
) -> Iterator[AnyArray]:
    """Play again with the same seed and give the pictures [H, W, 3] uint8 of one episode as it goes.

    `envs`, `q_function` and `epsilon` as for `play_episodes`; `episode` is its `Episodes.best`. The environments must
    be reproducible by seed, else it is another episode of the same policy.

    Playing twice costs less than keeping the pictures of every episode that might turn out the best: those of eight
    Atari games of half an hour are tens of gigabytes.
    """
    index, wanted = episode
    ended = 0
    for step in _steps(envs, q_function, epsilon, seed):
        if ended == wanted:
            yield envs.render(index)
        if step.terminated[index] or step.truncated[index]:
            ended += 1
            if ended > wanted:
                return
