"""The task that the settings ask for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lstm.config import AddingConfig, AudioConfig, CopyConfig, ForecastConfig, LstmConfig, SpeechConfig
from lstm.tasks.base import Task
from lstm.tasks.forecast import Forecast
from lstm.tasks.memory_tests import Adding, Copy
from lstm.tasks.text import Text
from trainkit.words import Say, quiet


def make_task(config: LstmConfig, known: Mapping[str, Any] | None = None, say: Say = quiet) -> Task:
    """With its data read. UserError for every mistake in them.

    `known`: the task's facts when the run began, where it goes on or is used. `say` tells how far it is, often.
    """
    section, size, seed = config.task, config.training.batch, config.seed
    if isinstance(section, AddingConfig):
        return Adding(section, size, seed)
    if isinstance(section, CopyConfig):
        return Copy(section, size, seed)
    if isinstance(section, AudioConfig):
        from lstm.tasks.audio import Audio  # its libraries are an extra

        return Audio(section, size)
    if isinstance(section, ForecastConfig):
        return Forecast(section, size, seed)
    if isinstance(section, SpeechConfig):
        from lstm.tasks.speech import Speech

        return Speech(section, size, seed, known, say)
    return Text(section, size)


def settled(config: LstmConfig, task: Task | None = None) -> LstmConfig:
    """With paths that mean the same wherever a worker starts, and what only the data (of `task`) say."""
    changes = {}
    for name in ("text", "audio", "forecast", "speech"):
        if (section := getattr(config, name)) is not None:
            key = "folder" if name in ("audio", "speech") else "path"
            place = Path(getattr(section, key)).expanduser()
            if place.exists():  # else it is an example that came with the package, or a mistake that is told as given
                changes[name] = section.model_copy(update={key: str(place.absolute())})
    config = config.model_copy(update=changes)
    if config.forecast is not None and config.forecast.start == "auto":
        known = task if isinstance(task, Forecast) else Forecast(config.forecast, config.training.batch, config.seed)
        chosen = config.forecast.model_copy(update={"start": known.start, "seasons": known.seasons})
        config = config.model_copy(update={"forecast": chosen})
    return config
