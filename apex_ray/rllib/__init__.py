"""Ape-X for programs written for RLlib: importing this registers it with Ray Tune as "APEX" and "APEX_DQN"."""

from __future__ import annotations

from ray.tune import register_trainable

from apex_ray.rllib.algorithm import ApexDQN
from apex_ray.rllib.config import ApexDQNConfig
from apex_ray.rllib.experiments import from_yaml

NAMES = ("APEX", "APEX_DQN")
for _name in NAMES:
    register_trainable(_name, ApexDQN)

__all__ = ["NAMES", "ApexDQN", "ApexDQNConfig", "from_yaml"]
