"""What a caller of `train` is told while a run goes on, and can end it by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apex_ray.types import EvaluationResult


@dataclass(frozen=True)
class Hooks:
    """Called in the process that called `train`. One that returns True ends the run as a limit of `stop` does; one that
    raises ends it with its error, after a checkpoint.
    """

    on_row: Callable[[Mapping[str, float]], Any] | None = None  # metrics by name, each time that a row is written
    on_evaluation: Callable[[EvaluationResult], Any] | None = None
    on_checkpoint: Callable[[Path], Any] | None = None  # the checkpoint's folder

    def row(self, row: Mapping[str, float]) -> str:
        """The name of the hook where it asked for the end; "" else. So the others."""
        return "on_row" if self.on_row is not None and self.on_row(row) is True else ""

    def evaluation(self, result: EvaluationResult) -> str:
        return "on_evaluation" if self.on_evaluation is not None and self.on_evaluation(result) is True else ""

    def checkpoint(self, folder: Path) -> str:
        return "on_checkpoint" if self.on_checkpoint is not None and self.on_checkpoint(folder) is True else ""
