"""A checkpoint's files. Nothing is unpickled when they are read.

weights.safetensors  the best weights, to use          training.safetensors  those that training goes on with
optimizer.pt         Adam's moments and the step       config.yaml           every setting
state.safetensors    the carried state of each sequence, where the task carries it
facts.json           shape of the network's ends, and what its use needs to know of the data
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from cluster import checkpoints
from cluster.checkpoints import OPTIMIZER, TRAINING, WEIGHTS, newest
from cluster.config import load_config, to_yaml
from cluster.errors import UserError
from lstm.cell import State
from lstm.config import PRESETS, LstmConfig
from lstm.learning import Learner
from lstm.network import Network, Shape
from lstm.tasks.base import Task

STATE, FACTS = "state.safetensors", "facts.json"


def save(folder: Path, config: LstmConfig, task: Task, learner: Learner, carried: State) -> None:
    """Write all files into an empty folder."""
    _write(learner.best if math.isfinite(learner.best_cost) else learner.weights(), folder / WEIGHTS)
    _write(learner.weights(), folder / TRAINING)
    _write({str(i): part for i, part in enumerate(carried)}, folder / STATE)
    torch.save(learner.state(), folder / OPTIMIZER)
    (folder / "config.yaml").write_text(to_yaml(config))
    (folder / FACTS).write_text(json.dumps({"shape": asdict(task.shape), "unit": task.unit, **task.facts}))


def _write(tensors: Mapping[str, Tensor], path: Path) -> None:
    save_file({name: p.detach().cpu().contiguous() for name, p in tensors.items()}, path)


def resume(folder: Path, learner: Learner, device: torch.device) -> State:
    """Put a checkpoint into the learner; the carried state [layers, B, size] of all sequences, or ()."""
    weights, best, carried = (checkpoints.weights(folder / name, device) for name in (TRAINING, WEIGHTS, STATE))
    learner.load(weights, best, checkpoints.state(folder / OPTIMIZER))
    return tuple(carried[str(i)] for i in range(len(carried)))


def load_config_of(run: Path) -> LstmConfig:
    """The settings of a run's newest checkpoint, with paths as the workers had them."""
    return load_config(LstmConfig, PRESETS, newest(run) / "config.yaml").config


def facts(run: Path) -> dict[str, Any]:
    """What the task had to say about its data."""
    return checkpoints.facts(newest(run) / FACTS)


def load_network(run: Path, shape: Shape | None = None) -> Network:
    """A run's network with its best weights; UserError when the data now ask for another `shape`."""
    config, learned = load_config_of(run), Shape(**facts(run)["shape"])
    if shape is not None and shape != learned:
        raise UserError(f"run {str(run)!r} was trained on data of another shape: {learned}, now {shape}")
    network = Network(config.model, learned)
    weights = checkpoints.weights(newest(run) / WEIGHTS)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"the weights in {newest(run)} are not of its configuration: {reason}") from None
    return network.eval()
