"""Environments that can be brought back to where they were: from the same seed they play the same actions again.

No environment here has a state that could be written down: games in ALE's threads, emulators in processes of their own,
anybody's Gymnasium class. What all of them have is a seed.
"""

from __future__ import annotations

import numpy as np

from apex_ray.envs.base import VectorEnv
from apex_ray.types import AnyArray, IntArray, Step


class ActionLog:
    """A VectorEnv around another, which keeps every action sent since the reset: 4 bytes an environment and step."""

    def __init__(self, envs: VectorEnv) -> None:
        self._envs = envs
        self.spec, self.num_envs = envs.spec, envs.num_envs
        self._sent: list[AnyArray] = []

    @property
    def actions(self) -> AnyArray:
        """int32 [steps, E]."""
        return np.asarray(self._sent, np.int32).reshape(len(self._sent), self.num_envs)

    def play_again(self, actions: AnyArray) -> AnyArray:
        """Send what `actions` held, after a reset with the seed of then; returns the last observations [E, S, *F]."""
        assert not self._sent, "only after a reset"
        for row in actions.astype(np.int64):
            self.send(row)
            self._observations = self.recv().observations
        return self._observations

    def reset(self, seed: int) -> AnyArray:
        self._sent.clear()
        self._observations = self._envs.reset(seed)
        return self._observations

    def send(self, actions: IntArray) -> None:
        self._sent.append(actions.astype(np.int32))
        self._envs.send(actions)

    def recv(self) -> Step:
        return self._envs.recv()

    def render(self, index: int) -> AnyArray:
        return self._envs.render(index)

    def close(self) -> None:
        self._envs.close()
