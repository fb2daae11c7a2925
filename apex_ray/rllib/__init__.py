"""Ape-X for programs written for RLlib: importing this registers it with Ray Tune as "APEX" and "APEX_DQN"."""

from __future__ import annotations

import importlib
from importlib.util import find_spec

from ray.tune import register_trainable

from apex_ray.rllib.config import ALGORITHM, ApexDQNConfig
from apex_ray.rllib.experiments import from_yaml

NAMES = ("APEX", "APEX_DQN")
__all__ = ["NAMES", "ApexDQNConfig", "from_yaml"]

if find_spec(ALGORITHM) is not None:
    ApexDQN = importlib.import_module(ALGORITHM).ApexDQN
    for _name in NAMES:
        register_trainable(_name, ApexDQN)
    __all__ += ["ApexDQN"]
