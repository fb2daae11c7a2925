"""Small environments that only who remembers can solve: for env.make, as in the presets cartpole_masked and tmaze."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from apex_ray.types import FloatArray

POSITIONS = (0, 2)  # of CartPole's numbers: where the cart is, and the pole's angle


class OnlyPositions(gymnasium.ObservationWrapper[FloatArray, Any, FloatArray]):
    """CartPole without its velocities (as in Wierstra et al. 2007): they follow from two steps."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        limits = np.full(len(POSITIONS), np.inf, np.float32)
        self.observation_space = spaces.Box(-limits, limits)

    def observation(self, observation: FloatArray) -> FloatArray:
        return observation[list(POSITIONS)]


def masked_cartpole(**kwargs: Any) -> gymnasium.Env[FloatArray, Any]:
    """CartPole-v1, time limit and all, of which only positions are seen."""
    return OnlyPositions(gymnasium.make("CartPole-v1", **kwargs))


class TMaze(gymnasium.Env[FloatArray, np.int64]):
    """A corridor of `length` steps with a junction at its end: which way to turn is seen at the start alone.

    Bakker 2002, "Reinforcement Learning with Long Short-Term Memory", section 4: observations [3] are (0, 1, 1) or
    (1, 1, 0) at the start, (1, 0, 1) in the corridor, (0, 1, 0) at the junction; actions are north, east, south, west;
    to turn the right way brings 4 and ends the episode, to turn the wrong way brings -0.1 and ends it, and to stand
    still brings -0.1. Who has not turned after 3 `length` steps is cut off.
    """

    def __init__(self, length: int = 20) -> None:
        self.observation_space = spaces.Box(0.0, 1.0, (3,), np.float32)
        self.action_space = spaces.Discrete(4)
        self._length = length
        self._at = self._steps = 0
        self._north = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        super().reset(seed=seed)
        self._at = self._steps = 0
        self._north = bool(self.np_random.integers(2))
        return self._seen(), {}

    def step(self, action: Any) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        over = self._steps >= 3 * self._length
        north, east, south, west = (int(action) == direction for direction in range(4))
        if self._at == self._length and (north or south):
            return self._seen(), 4.0 if north == self._north else -0.1, True, False, {}
        before = self._at
        self._at = min(max(before + east - west, 0), self._length)
        return self._seen(), 0.0 if self._at != before else -0.1, False, over, {}

    def _seen(self) -> FloatArray:
        if self._at == self._length:
            seen = (0, 1, 0)
        elif self._at:
            seen = (1, 0, 1)
        else:
            seen = (0, 1, 1) if self._north else (1, 1, 0)
        return np.asarray(seen, np.float32)
