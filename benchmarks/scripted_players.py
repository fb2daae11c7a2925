"""Players without a network, to measure learned ones against: fixed mixtures of actions, and JERK."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from apex_ray.agent.contract import State
from apex_ray.envs.base import VectorEnv
from apex_ray.retro.stage_end import StageEnd
from apex_ray.types import BoolArray, FloatArray, IntArray, Observations

RUN_STEPS, BACK_STEPS = 100, 70  # as in Nichol et al. 2018 (arXiv 1804.03720) and its code
JUMP_PROBABILITY, JUMP_STEPS = 0.1, 4
EXPLOIT_BIAS = 0.25


class Mixture:
    """A player that draws each action anew with fixed probabilities, whatever it sees."""

    def __init__(self, probabilities: Sequence[float], seed: int) -> None:
        self._probabilities, self._rng = probabilities, np.random.default_rng(seed)

    def initial_state(self, num_envs: int) -> State:
        return {}

    def act(
        self, observations: Observations, state: State, epsilons: FloatArray, rng: np.random.Generator
    ) -> tuple[IntArray, State]:
        return self._rng.choice(len(self._probabilities), size=len(epsilons), p=self._probabilities), {}

    def next_state(self, state: State, actions: IntArray, rewards: FloatArray, first: BoolArray) -> State:
        return state


@dataclass
class Played:
    """A sequence of actions that was played, cut where its return was largest, and what it has brought since."""

    actions: list[int]
    returns: list[float]

    @property
    def mean(self) -> float:
        return float(np.mean(self.returns))


@dataclass
class Jerk:
    """Just Enough Retained Knowledge (Nichol et al. 2018, arXiv 1804.03720), with the seven actions of the task.

    It runs right with jumps at random, turns back for a while when that earned nothing, and remembers what it pressed.
    The longer it plays, the more often it repeats the sequence that did best on average instead of trying anew. It
    never looks at the screen.
    """

    envs: VectorEnv  # one environment with one stage, whose reward may fall where the player goes back
    right: int
    left: int
    jump: int
    seed: int = 0
    sequences: list[Played] = field(default_factory=list)
    ends: list[StageEnd] = field(default_factory=list)
    steps: int = 0

    def play(self, total_steps: int) -> list[StageEnd]:
        """Play for that many agent steps; returns the episodes that ended, in order."""
        rng = np.random.default_rng(self.seed)
        self.envs.reset(self.seed)
        while self.steps < total_steps:
            if self.sequences and rng.random() < EXPLOIT_BIAS + self.steps / total_steps:
                best = max(self.sequences, key=lambda s: s.mean)
                best.returns.append(self._repeat(best.actions))
            else:
                self.sequences.append(self._explore(rng))
        return self.ends

    def _explore(self, rng: np.random.Generator) -> Played:
        actions: list[int] = []
        sums: list[float] = [0.0]
        while True:
            for steps, way in ((RUN_STEPS, self.right), (BACK_STEPS, self.left)):
                before = sums[-1]
                if self._walk(rng, way, steps, actions, sums):
                    best = int(np.argmax(sums))
                    return Played(actions[:best], [sums[best]])
                if sums[-1] > before:
                    break  # it got on: no need to turn back

    def _walk(self, rng: np.random.Generator, way: int, steps: int, actions: list[int], sums: list[float]) -> bool:
        """Go one way with random jumps; True when the episode ended."""
        jumping = 0
        for _ in range(steps):
            if jumping == 0 and rng.random() < JUMP_PROBABILITY:
                jumping = JUMP_STEPS
            action = self.jump if jumping else way
            jumping = max(jumping - 1, 0)
            reward, ended = self._step(action)
            actions.append(action)
            sums.append(sums[-1] + reward)
            if ended:
                return True
        return False

    def _repeat(self, actions: Sequence[int]) -> float:
        """Play a sequence, then nothing new until the episode ends; returns the return of all of it."""
        total, ended, at = 0.0, False, 0
        while not ended:
            reward, ended = self._step(actions[at] if at < len(actions) else self.right)
            total, at = total + reward, at + 1
        return total

    def _step(self, action: int) -> tuple[float, bool]:
        self.envs.send(np.array([action]))
        step = self.envs.recv()
        self.steps += 1
        self.ends += map(StageEnd.of, step.ends.values())
        ended = bool(step.terminated[0] or step.truncated[0])
        if ended:  # the next step only starts the next episode
            self.envs.send(np.array([action]))
            self.envs.recv()
        return float(step.rewards[0]), ended
