"""A checkpoint's files: those of trainkit/checkpoints.py, whose weights to use are the averaged ones, and

corpus.json  speakers and phones by number
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from trainkit import checkpoints as files
from trainkit.checkpoint_folders import writing
from trainkit.checkpoints import TRAINING, WEIGHTS, newest
from trainkit.config import to_yaml
from trainkit.run_layout import CONFIG_FILE
from wavenet.config import PRESETS, WaveNetConfig
from wavenet.corpus import Corpus
from wavenet.learning import Learner
from wavenet.model import WaveNet

CORPUS = "corpus.json"


def save(folder: Path, config: WaveNetConfig, learner: Learner, corpus: Corpus) -> None:
    """Write all files into an empty folder. NotWrittenError for a full disk and for weights that are not finite."""
    with writing(folder):
        files.write(folder, learner.average, learner.model.state_dict(), learner.state(), to_yaml(config))
        (folder / CORPUS).write_text(json.dumps({"speakers": list(corpus.speakers), "phones": list(corpus.phones)}))


def load(folder: Path, learner: Learner, device: torch.device) -> None:
    """Put a checkpoint into the learner, to go on training."""
    weights, average = (files.weights(folder / name, device) for name in (TRAINING, WEIGHTS))
    learner.load(weights, average, files.state(folder))


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
