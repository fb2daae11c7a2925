"""The task that the settings ask for."""

from __future__ import annotations

from pathlib import Path

from lstm.config import AddingConfig, CopyConfig, LstmConfig
from lstm.tasks.base import Task
from lstm.tasks.memory_tests import Adding, Copy


def make_task(config: LstmConfig) -> Task:
    """With its data read. UserError for every mistake in them."""
    section, size, seed = config.task, config.training.batch, config.seed
    if isinstance(section, AddingConfig):
        return Adding(section, size, seed)
    if isinstance(section, CopyConfig):
        return Copy(section, size, seed)
    raise NotImplementedError


def settled(config: LstmConfig) -> LstmConfig:
    """With paths that mean the same wherever a worker starts."""
    changes = {}
    for name in ("text", "audio", "forecast"):
        if (section := getattr(config, name)) is not None:
            key = "folder" if name == "audio" else "path"
            place = str(Path(getattr(section, key)).expanduser().absolute())
            changes[name] = section.model_copy(update={key: place})
    return config.model_copy(update=changes)
