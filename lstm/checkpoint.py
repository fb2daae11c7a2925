"""A checkpoint's files: those of trainkit/checkpoints.py, whose weights to use are the best, and

state.safetensors  the carried state of each sequence, where the task carries it
facts.json         shape of the network's ends, and what its use needs to know of the data
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from lstm.acoustic_network import AcousticNetwork
from lstm.cell import State
from lstm.config import PRESETS, LstmConfig
from lstm.learning import Learner
from lstm.network import Network, network_of
from lstm.shape import Shape
from lstm.tasks.base import Task
from trainkit import checkpoints, tensor_files
from trainkit.checkpoint_folders import writing
from trainkit.checkpoints import TRAINING, WEIGHTS, newest
from trainkit.config import to_yaml
from trainkit.errors import UserError
from trainkit.run_layout import CONFIG_FILE

STATE, FACTS = "state.safetensors", "facts.json"


def save(folder: Path, config: LstmConfig, task: Task, learner: Learner, carried: State) -> None:
    """Write all files into an empty folder. NotWrittenError for a full disk and for weights that are not finite."""
    with writing(folder):
        weights = learner.weights()
        best = learner.best if math.isfinite(learner.best_cost) else weights
        checkpoints.write(folder, best, weights, learner.state(), to_yaml(config))
        tensor_files.write({str(i): part for i, part in enumerate(carried)}, folder / STATE)
        (folder / FACTS).write_text(json.dumps({"shape": asdict(task.shape), "unit": task.unit, **task.facts}))


def resume(folder: Path, learner: Learner, device: torch.device) -> State:
    """Put a checkpoint into the learner; the carried state [layers, B, size] of all sequences, or ()."""
    weights, best, carried = (checkpoints.weights(folder / name, device) for name in (TRAINING, WEIGHTS, STATE))
    learner.load(weights, best, checkpoints.state(folder))
    return tuple(carried[str(i)] for i in range(len(carried)))


def load_config_of(run: Path) -> LstmConfig:
    """The settings of a run's newest checkpoint, with paths as the workers had them."""
    return PRESETS.load(newest(run) / CONFIG_FILE).config


def facts(run: Path) -> dict[str, Any]:
    """What the task had to say about its data."""
    return facts_in(newest(run))


def facts_in(folder: Path) -> dict[str, Any]:
    """The same, of a checkpoint's folder."""
    return checkpoints.facts(folder / FACTS)


def load_network(run: Path, shape: Shape | None = None) -> Network:
    """A run's network with its best weights; UserError when the data now ask for another `shape`."""
    network = _loaded(run, shape)
    if not isinstance(network, Network):
        raise UserError(f"run {str(run)!r} learned speech; expected apex-lstm speak {run} TEXT")
    return network


def load_acoustic(run: Path, shape: Shape | None = None) -> AcousticNetwork:
    """The network of a run that learned speech, as `load_network`."""
    network = _loaded(run, shape)
    if not isinstance(network, AcousticNetwork):
        raise UserError(f"run {str(run)!r} did not learn speech; expected one of apex-lstm train speech")
    return network


def _loaded(run: Path, shape: Shape | None) -> Network | AcousticNetwork:
    config, learned = load_config_of(run), Shape(**facts(run)["shape"])
    if shape is not None and shape != learned:
        raise UserError(f"run {str(run)!r} was trained on data of another shape: {learned}, now {shape}")
    network = network_of(config.model, learned)
    checkpoints.load_weights(network, newest(run))
    return network.eval()
