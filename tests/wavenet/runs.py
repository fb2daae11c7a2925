"""A run folder with a network that has learned a little, in this process: for tests of what is done with runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from trainkit.config import to_yaml
from trainkit.runs import create_run
from wavenet import checkpoint
from wavenet.config import PRESETS
from wavenet.corpus import load_corpus
from wavenet.crops import Cropper
from wavenet.features import features
from wavenet.learning import Learner
from wavenet.train import new_model, settled


def trained(preset: str, *settings: str) -> Path:
    """The folder of a run of `training.steps` updates."""
    config = PRESETS.load(preset, settings).config
    corpus = load_corpus(config.data)
    config = settled(config, corpus)
    run = create_run(config.runs_dir, config.name, to_yaml(config))
    frames_of = features(config, corpus.phones)
    model, t = new_model(config, corpus, frames_of), config.training
    learner = Learner(model, model, t, 1, lambda value: torch.as_tensor(value, dtype=torch.float64))
    cropper = Cropper(config.model, t.segment_samples, frames_of)
    for step in range(t.steps):
        learner.update(cropper.random(corpus.train, t.batch, np.random.default_rng((config.seed, step))))
    folder: Path = run / "checkpoint_000000"
    folder.mkdir()
    checkpoint.save(folder, config, learner, corpus)
    return run
