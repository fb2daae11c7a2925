"""Ape-X for programs written for RLlib: importing this registers it with Ray Tune as "APEX" and "APEX_DQN"."""

from __future__ import annotations

from importlib import import_module

from trainkit.errors import needed

with needed("ray.rllib"):  # Ray's own messages name its packages, one after the other
    import_module("ray.rllib")
    from ray.tune import register_trainable

from apex_ray.rllib.algorithm import ApexDQN
from apex_ray.rllib.config import ApexDQNConfig
from apex_ray.rllib.experiments import from_yaml

NAMES = ("APEX", "APEX_DQN")
__all__ = ["NAMES", "ApexDQN", "ApexDQNConfig", "from_yaml", "register"]


def register() -> None:
    """Have Ray Tune know the names. Importing this does; again after `ray.shutdown()`, with which Ray forgets them."""
    for name in NAMES:
        register_trainable(name, ApexDQN)


register()
