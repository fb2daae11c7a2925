"""Ape-X DQN on Ray: distributed prioritised replay that can be run, scaled and trusted.

The names below are imported when they are first used, so that `import apex_ray` loads neither torch nor Ray.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from trainkit.own_folders import settle

if TYPE_CHECKING:
    from apex_ray.config.load import load as load_config
    from apex_ray.config.schema import ApexConfig
    from apex_ray.evaluation import evaluate_run as evaluate
    from apex_ray.policy import load_policy
    from apex_ray.run.training import train
    from apex_ray.tuning.trainable import trainable

settle()

__version__ = "0.2.0"

_HOMES = {
    "ApexConfig": "apex_ray.config.schema",
    "evaluate": "apex_ray.evaluation:evaluate_run",
    "load_config": "apex_ray.config.load:load",
    "load_policy": "apex_ray.policy",
    "train": "apex_ray.run.training",
    "trainable": "apex_ray.tuning.trainable",
}
__all__ = ["ApexConfig", "evaluate", "load_config", "load_policy", "train", "trainable"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'apex_ray' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(importlib.import_module(module), attribute or name)
