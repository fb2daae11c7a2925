"""A checkpoint's files: those of trainkit/checkpoints.py, whose weights to use are the averaged ones, and

corpus.json  speakers and phones by number
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainkit import checkpoints as files
from trainkit.checkpoint_folders import writing
from trainkit.checkpoints import TRAINING, WEIGHTS, newest
from trainkit.config import to_yaml
from trainkit.runs import CONFIG_FILE
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
    """Write all files into an empty folder. NotWrittenError for a full disk and for weights that are not finite."""
    with writing(folder):
        files.write(folder, average, weights, state, to_yaml(config))
        (folder / CORPUS).write_text(json.dumps({"speakers": list(speakers), "phones": list(phones)}))


def load(folder: Path, device: torch.device) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """(weights, averaged weights, state) to go on training."""
    return (
        files.weights(folder / TRAINING, device),
        files.weights(folder / WEIGHTS, device),
        files.state(folder),
    )


def known(run: Path) -> tuple[list[str], list[str]]:
    """(speakers, phones) by number, of a run's newest checkpoint."""
    held = files.facts(newest(run) / CORPUS)
    return list(held["speakers"]), list(held.get("phones", []))


def load_model(run: Path) -> tuple[WaveNetConfig, WaveNet]:
    """A run's network with its newest averaged weights, and its settings, with what the data said of the network."""
    folder = newest(run)
    model = WaveNet(PRESETS.load(folder / CONFIG_FILE).config.model)
    files.load_weights(model, folder)
    return PRESETS.load_run(run).model_copy(update={"model": model.config}), model.eval()
