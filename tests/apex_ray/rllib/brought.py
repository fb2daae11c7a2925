"""What programs written for RLlib bring: environments made with one EnvContext, models old and new."""

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from ray.rllib.models.torch.torch_modelv2 import TorchModelV2
from torch import nn


class Counting(gymnasium.Env):
    """Observations count to env_config's `length`."""

    observation_space = spaces.Box(0.0, 1.0, (2,), np.float32)
    action_space = spaces.Discrete(3)

    def __init__(self, context):
        self.length, self.context, self.at = context.get("length", 5), context, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.at += 1
        return np.full(2, self.at / self.length, np.float32), 1.0, self.at >= self.length, False, {}


def counting(context):
    return Counting(context)


class Several(MultiAgentEnv):
    """Of more than one agent."""


class Worded(Counting):
    """An observation that no network takes."""

    observation_space = spaces.Text(9)


class Torso(nn.Module):
    """A torso of a user's."""

    def __init__(self, spec, config):
        super().__init__()
        self.num_features = config.torso_kwargs.get("width", 8)
        self.layer = nn.Linear(spec.leaf.stack * 2, self.num_features)

    def forward(self, observations):
        return torch.relu(self.layer(observations.flatten(1)))


class OldModel(TorchModelV2, nn.Module):
    """Of RLlib before RLModules."""
