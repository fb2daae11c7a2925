"""Environments that can be brought back to where they were: from the same seed they play the same actions again.

No environment here has a state that could be written down: games in ALE's threads, emulators in processes of their own,
anybody's Gymnasium class. What all of them have is a seed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from apex_ray.envs.base import VectorEnv
from apex_ray.types import AnyArray, IntArray, Observations, Step

BLOCK_STEPS = 4096  # in one array


class ActionLog:
    """A VectorEnv around another, which keeps every action sent since the reset: 4 bytes an environment and step."""

    def __init__(self, envs: VectorEnv) -> None:
        self._envs = envs
        self.spec, self.num_envs = envs.spec, envs.num_envs
        self._blocks: list[AnyArray] = []  # [BLOCK_STEPS, E, ...], of which the last is not full
        self._steps = 0

    @property
    def actions(self) -> AnyArray:
        """int32 [steps, E], or [steps, E, K] of K branches."""
        return np.concatenate([np.empty((0, *self._shape), np.int32), *self._blocks])[: self._steps]

    @property
    def _shape(self) -> tuple[int, ...]:
        return (self.num_envs, *self.spec.action_shape)

    def play_again(self, actions: AnyArray, played: Callable[[int], None] = lambda steps: None) -> Observations:
        """Send what `actions` held, after a reset with the seed of then; returns the last observations.

        `played` is called with the agent steps of all environments each time that these were played.
        """
        assert not self._steps, "only after a reset"
        for row in actions.astype(np.int64):
            self.send(row)
            self._observations = self.recv().observations
            played(self.num_envs)
        return self._observations

    def reset(self, seed: int) -> Observations:
        self._blocks.clear()
        self._steps = 0
        self._observations = self._envs.reset(seed)
        self.spec = self._envs.spec
        return self._observations

    def send(self, actions: IntArray) -> None:
        at = self._steps % BLOCK_STEPS
        if at == 0:
            self._blocks.append(np.empty((BLOCK_STEPS, *self._shape), np.int32))
        self._blocks[-1][at] = actions
        self._steps += 1
        self._envs.send(actions)

    def recv(self) -> Step:
        return self._envs.recv()

    def render(self, index: int) -> AnyArray:
        return self._envs.render(index)

    def close(self) -> None:
        self._envs.close()
