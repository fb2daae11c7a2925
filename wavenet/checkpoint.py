"""A checkpoint's files. Nothing is unpickled when they are read.

weights.safetensors  the averaged weights, to use      training.safetensors  those that training goes on with
optimizer.pt         Adam's moments and the step       config.yaml           every setting
corpus.json          speakers and phones by number
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from cluster import checkpoints as files
from cluster.checkpoints import OPTIMIZER, TRAINING, WEIGHTS, newest
from cluster.config import load_config, to_yaml
from cluster.errors import UserError
from cluster.runs import CONFIG_FILE
from wavenet.config import PRESETS, WaveNetConfig
from wavenet.model import WaveNet

CORPUS = "corpus.json"


def save(
    folder: Path,
    config: WaveNetConfig,
    average: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    state: Mapping[str, Any],
    speakers: Sequence[str],
    phones: Sequence[str],
) -> None:
    """Write all files into an empty folder."""
    save_file({name: p.detach().cpu().contiguous() for name, p in average.items()}, folder / WEIGHTS)
    save_file({name: p.detach().cpu().contiguous() for name, p in weights.items()}, folder / TRAINING)
    torch.save(dict(state), folder / OPTIMIZER)
    (folder / CONFIG_FILE).write_text(to_yaml(config))
    (folder / CORPUS).write_text(json.dumps({"speakers": list(speakers), "phones": list(phones)}))


def load(folder: Path, device: torch.device) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """(weights, averaged weights, state) to go on training."""
    return (
        files.weights(folder / TRAINING, device),
        files.weights(folder / WEIGHTS, device),
        files.state(folder / OPTIMIZER),
    )


def known(run: Path) -> tuple[list[str], list[str]]:
    """(speakers, phones) by number, of a run's newest checkpoint."""
    held = files.facts(newest(run) / CORPUS)
    return list(held["speakers"]), list(held.get("phones", []))


def load_model(run: Path) -> WaveNet:
    """A run's network with its newest averaged weights."""
    folder = newest(run)
    model = WaveNet(load_config(WaveNetConfig, PRESETS, folder / CONFIG_FILE).config.model)
    try:
        model.load_state_dict(files.weights(folder / WEIGHTS))
    except RuntimeError as error:
        raise UserError(f"the weights in {folder} are not of this configuration: {error}") from None
    return model.eval()
