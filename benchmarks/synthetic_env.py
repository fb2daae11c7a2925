"""An environment of fixed cost: `Sleepy-v0` waits as long as an emulator would compute, leaving the core to others."""

from __future__ import annotations

import time
from typing import Any

import gymnasium
import numpy as np

STEP_S = 0.0005


class Sleepy(gymnasium.Env[np.ndarray, np.int64]):
    """Episodes of 500 steps of 0.5 ms; observations are random 84x84 frames drawn once."""

    observation_space = gymnasium.spaces.Box(0, 255, (84, 84), np.uint8)
    action_space = gymnasium.spaces.Discrete(6)

    def __init__(self, **_: Any) -> None:
        self._frames = np.random.default_rng(0).integers(0, 255, (8, 84, 84), dtype=np.uint8)
        self._t = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._t = 0
        return self._frames[0], {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        time.sleep(STEP_S)
        self._t += 1
        return self._frames[self._t % 8], 0.0, self._t >= 500, False, {}


gymnasium.register("Sleepy-v0", Sleepy)
