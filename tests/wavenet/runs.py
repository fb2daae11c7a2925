"""A run folder with a network that has learned a little, in this process: for tests of what is done with runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from trainkit.config import to_yaml
from trainkit.run_record import record_start
from trainkit.runs import create_run
from wavenet import checkpoint
from wavenet.config import PRESETS
from wavenet.corpus import load_corpus
from wavenet.learning import Learner
from wavenet.train import croppers, new_model, settled


def trained(preset: str, *settings: str) -> Path:
    """The folder of a run of `training.steps` updates."""
    config = PRESETS.load(preset, settings).config
    corpus = load_corpus(config.data)
    config = settled(config, corpus)
    run = create_run(config.runs_dir, config.name, to_yaml(config))
    record_start(run, PRESETS.trainer)
    model, t, cropper_at = new_model(config, corpus), config.training, croppers(config, corpus)
    learner = Learner(model, model, t, 1, lambda value: torch.as_tensor(value, dtype=torch.float64))
    for step in range(t.steps):
        learner.update(cropper_at(step).random(corpus.train, t.batch, np.random.default_rng((config.seed, step))))
    folder: Path = run / "checkpoint_000000"
    folder.mkdir()
    checkpoint.save(folder, config, learner, corpus)
    return run
