"""Full episodes of a player with fixed weights, and the pictures of one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from apex_ray.agent.policy import Player
from apex_ray.envs.base import FilmsOne, VectorEnv
from apex_ray.types import AnyArray, EpisodeValues, Step

# Asked before every step of the environments with (episodes that ended, agent steps of all so far): whether to stop.
Watch = Callable[[int, int], bool]


def never_stop(episodes: int, steps: int) -> bool:
    """A watch that lets all be played."""
    return False


class StoppedError(Exception):
    """A film was stopped by its watch."""


@dataclass
class Episodes:
    returns: list[float] = field(default_factory=list)  # unclipped, in the order in which the episodes ended
    lengths_steps: list[int] = field(default_factory=list)
    values: list[EpisodeValues] = field(default_factory=list)  # one an episode, where the environments give any
    best: tuple[int, int] = (0, 0)  # (environment, which of its episodes, from 0) of the highest return
    asked: int = 0  # episodes; there are fewer when the watch stopped them
    cut_steps: int | None = None  # where none could be used whole: the step at which all are cut


@dataclass(frozen=True)
class _Ended:
    env: int
    nth: int  # of its environment
    episode_return: float
    length_steps: int
    values: EpisodeValues | None = None


def _steps(envs: VectorEnv, player: Player, epsilon: float, seed: int) -> Iterator[Step]:
    """Endless play, the same every time for the same player and seed. The first step is the reset."""
    rng = np.random.default_rng(seed)
    count = envs.num_envs
    epsilons = np.full(count, epsilon, np.float32)
    state = player.initial_state(count)
    nothing = np.zeros(count, bool)
    step = Step(envs.reset(seed), np.zeros(count, np.float32), nothing, nothing, nothing, first=np.ones(count, bool))
    while True:
        yield step
        actions, state = player.act(step.observations, state, epsilons, rng)
        envs.send(actions)
        step = envs.recv()
        state = player.next_state(state, actions, step.rewards, step.first)


def play_episodes(
    envs: VectorEnv, player: Player, episodes: int, epsilon: float, seed: int, watch: Watch = never_stop
) -> Episodes:
    """Play exactly `episodes` whole episodes and return their unclipped returns.

    Each environment has its quota from the start: taking whichever episodes end first would favour short ones. For the
    same reason, when `watch` stops them, only whole rounds count: the n-th episodes of all environments, where all of
    them have ended. Where not even the first round is whole, its episodes count as if a time limit had cut them all at
    the step reached (`cut_steps`), which favours none.
    """
    count = envs.num_envs
    quota = np.full(count, episodes // count) + (np.arange(count) < episodes % count)
    played, returns, lengths = np.zeros(count, np.int64), np.zeros(count), np.zeros(count, np.int64)
    ended: list[_Ended] = []
    for at, step in enumerate(_steps(envs, player, epsilon, seed)):
        returns += step.rewards
        lengths += 1
        returns[step.first], lengths[step.first] = 0.0, 0
        for e in np.flatnonzero((step.terminated | step.truncated) & (played < quota)).tolist():
            ended.append(_Ended(e, int(played[e]), float(returns[e]), int(lengths[e]), step.ends.get(e)))
            played[e] += 1
        if (played == quota).all():
            return _counted(ended, episodes, None)
        if watch(len(ended), at * count) and at:  # not before the first step: resets may have taken all the time
            break
    rounds = int(played[played < quota].min())
    if rounds:
        return _counted([episode for episode in ended if episode.nth < rounds], episodes, None)
    started = np.flatnonzero((quota > 0) & (played == 0) & (lengths > 0)).tolist()
    cut = [_Ended(e, 0, float(returns[e]), int(lengths[e])) for e in started]
    first = [episode for episode in ended if episode.nth == 0]
    return _counted([*first, *cut], episodes, cut_steps=max((e.length_steps for e in cut), default=None))


def _counted(ended: list[_Ended], asked: int, cut_steps: int | None) -> Episodes:
    best = max(ended, key=lambda episode: episode.episode_return)  # the first of equals
    return Episodes(
        returns=[episode.episode_return for episode in ended],
        lengths_steps=[episode.length_steps for episode in ended],
        values=[episode.values for episode in ended if episode.values is not None],
        best=(best.env, best.nth),
        asked=asked,
        cut_steps=cut_steps,
    )


def replay_episode(
    envs: VectorEnv,
    player: Player,
    epsilon: float,
    seed: int,
    episode: tuple[int, int],
    watch: Watch = never_stop,
    cut_steps: int | None = None,
) -> Iterator[AnyArray]:
    """Play again with the same seed and give the pictures [H, W, 3] uint8 of one episode as it goes.

    `envs`, `player` and `epsilon` as for `play_episodes`; `episode` is its `Episodes.best`. The environments must
    be reproducible by seed, else it is another episode of the same player. StoppedError when `watch` stops it; at
    `cut_steps`, where `play_episodes` cut it, it ends.

    Playing twice costs less than keeping the pictures of every episode that might turn out the best: those of eight
    Atari games of half an hour are tens of gigabytes.
    """
    index, wanted = episode
    films = envs if isinstance(envs, FilmsOne) else None
    if films is not None:
        films.film(index)
    ended = 0
    try:
        for at, step in enumerate(_steps(envs, player, epsilon, seed)):
            if watch(ended, at * envs.num_envs):
                raise StoppedError
            if ended == wanted:
                yield envs.render(index)
            ended += bool(step.terminated[index] or step.truncated[index])
            if ended > wanted or at == cut_steps:
                return
    finally:
        if films is not None:
            films.film(None)
