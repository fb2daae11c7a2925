"""What a caller of `train` is told while a run goes on, and can end it by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apex_ray.types import EvaluationResult
from trainkit.errors import UserError


@dataclass(frozen=True)
class Hooks:
    """Called in the process that called `train`. One that returns a true value ends the run as a limit of `stop` does;
    one that raises ends it with its error, after a checkpoint.
    """

    on_row: Callable[[Mapping[str, float]], Any] | None = None  # metrics by name, each time that a row is written
    on_evaluation: Callable[[EvaluationResult], Any] | None = None
    on_checkpoint: Callable[[Path], Any] | None = None  # the checkpoint's folder

    def __post_init__(self) -> None:
        for name, hook in vars(self).items():
            if hook is not None and not callable(hook):
                raise UserError(f"train: {name} = {hook!r}: expected a function")

    def call(self, name: str, *given: Any) -> str:
        """`name` where that hook asked for the end; "" else."""
        hook = getattr(self, name)
        return name if hook is not None and hook(*given) else ""
