"""Parts as a user might bring them, each with one fault."""

from __future__ import annotations

import sys
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from apex_ray.agent.lstm_memory import LstmMemory
from apex_ray.agent.q_learning import QLearning
from apex_ray.agent.torsos import MlpTorso


class TakesNothing:
    """Of whatever kind."""

    def __init__(self) -> None:
        pass


class Raises:
    def __init__(self, *given: Any) -> None:
        raise KeyError("no such lever")


class Exits:
    def __init__(self, *given: Any) -> None:
        sys.exit(3)


class Empty:
    def __init__(self, *given: Any) -> None:
        pass


class BadCheck:
    @staticmethod
    def check() -> None:
        raise KeyError("no such account")


NO_CLASS = 3


class WithoutFeatures(nn.Module):
    def __init__(self, spec: Any, config: Any) -> None:
        super().__init__()


class NoModule:
    num_features = 3

    def __init__(self, spec: Any, config: Any) -> None:
        pass

    def forward(self, x: Any) -> Any:
        return x


class OfAnotherWidth(nn.Module):
    def __init__(self, spec: Any, config: Any) -> None:
        super().__init__()
        self.num_features = "8"


class RaisesLater(MlpTorso):
    """In forward, of which a test says when."""

    raises = False

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        if RaisesLater.raises:
            raise ValueError("no such layer")
        return super().forward(observations)


class NoNetwork(QLearning):
    def network(self) -> Any:
        raise KeyError("no such network")


class NoLayers(LstmMemory):
    def module(self, inputs: int) -> Any:
        raise KeyError("no such memory")


class Corridor(gymnasium.Env[Any, Any]):
    """Without a constructor, as docs/how_to/own_environment.md has one."""

    observation_space = spaces.Box(0, 5, (4,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(4, np.float32), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return np.zeros(4, np.float32), 1.0, self.steps >= 5, False, {}


class PassesOn(Corridor):
    """Its signature takes everything, and what it calls takes nothing."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)


class Sized(Corridor):
    def __init__(self, size: int) -> None:
        pass


def sized(size: int) -> Corridor:
    return Corridor()


class Headless(Corridor):
    """Finds no screen when it is made to draw."""

    def __init__(self, render_mode: str | None = None) -> None:
        if render_mode is not None:
            raise OSError("no screen")
