"""An environment and a network of your own, in one script: python examples/own_task.py [KEY=VALUE ...]

The environment is a corridor: the goal is 10 steps to the right, and the agent sees its position. The script has its
own torso, the part of the network that turns an observation into features. Head, loss and all else are apex-ray's.
"""

from __future__ import annotations

import sys
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces

import apex_ray

LENGTH = 10


class Corridor(gymnasium.Env[Any, Any]):
    """Reward 1 at the right end; an episode is cut after 50 steps."""

    observation_space = spaces.Box(0, LENGTH, (1,), np.float32)
    action_space = spaces.Discrete(2)  # left, right

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = self.steps = 0
        return np.array([self.at], np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.at = max(self.at + (1 if action == 1 else -1), 0)
        self.steps += 1
        done = self.at == LENGTH
        return np.array([self.at], np.float32), float(done), done, not done and self.steps >= 50, {}


class PositionTorso(torch.nn.Module):
    """One feature for each place of the corridor."""

    def __init__(self, spec: Any, config: Any) -> None:
        """`spec` tells of observations ([B, S, *F] reach `forward`), `config` is the settings' section network."""
        super().__init__()
        self.embedding = torch.nn.Embedding(LENGTH + 1, config.hidden)
        self.num_features = config.hidden  # what `forward` gives: [B, num_features]

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.embedding(observations[:, -1, 0].long())


def main(overrides: list[str]) -> float | None:
    """Train; the mean return of the best evaluation, of at most 1."""
    settings = ["name=corridor", "stop.evaluation_return=1", "stop.after_s=120", "td.discount=0.95"]
    config = apex_ray.load_config("cartpole", [*settings, *overrides]).config
    return apex_ray.train(config, make_env=Corridor, torso=PositionTorso).best_return


if __name__ == "__main__":
    print(main(sys.argv[1:]))
