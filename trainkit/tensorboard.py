"""A run's TensorBoard: its scalars, with its settings as a page and as hyperparameters to compare runs by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from trainkit.runs import CONFIG_FILE

FOLDER = "tensorboard"  # in the run folder: under --logdir RUNS_DIR a run is then called by its own name


def open_board(run: Path, purge_step: int | None, compared: Sequence[str]) -> Any:
    """A SummaryWriter that goes on at `purge_step`; runs can be compared by the scalars `compared`."""
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    board: Any = SummaryWriter(str(run / FOLDER), purge_step=purge_step, flush_secs=30)
    config = run / CONFIG_FILE
    text = config.read_text(encoding="utf-8") if config.exists() else ""
    if settings := dict(flat(yaml.safe_load(text))):
        board.add_text("settings", "".join(f"    {line}\n" for line in text.splitlines()), purge_step or 0)
        for summary in hparams(settings, dict.fromkeys(compared, 0.0)):  # type: ignore[no-untyped-call]
            board.file_writer.add_summary(summary, purge_step or 0)
    board.flush()
    return board


def flat(section: Any, prefix: str = "") -> Iterator[tuple[str, str | float | bool]]:
    """Dotted names and values; what is no number or truth value is a text."""
    if not isinstance(section, Mapping):
        return
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, bool | int | float) else str(value)
