"""Weights & Biases: settings, metrics, the best episode's video, the best checkpoint as an artifact.

Its own variables say where to (WANDB_PROJECT, WANDB_ENTITY, WANDB_MODE). Without a key and without WANDB_MODE it writes
into the run folder only, for `wandb sync`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apex_ray.types import EvaluationResult
from trainkit.errors import optional
from trainkit.files import atomic_write

ID_FILE = "wandb_id"  # in the run folder, so that a resumed run goes on in the same place


class WandbLogger:
    @staticmethod
    def check() -> None:
        optional("wandb")

    def __init__(self, run: Path, settings: Mapping[str, Any], resume: bool) -> None:
        import wandb

        self._wandb, file = wandb, run / ID_FILE
        if not file.exists():
            atomic_write(file, uuid.uuid4().hex[:8].encode())
        mode: Any = os.environ.get("WANDB_MODE")
        if not mode and not wandb.api.api_key:
            mode = "offline"
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "apex-ray"),
            id=file.read_text(),
            name=run.name,
            dir=str(run),
            config=dict(settings),
            resume="allow",
            mode=mode,
            settings=wandb.Settings(silent=True, console="off"),
        )
        self._run.define_metric("*", step_metric="frames")
        self._offline = mode == "offline"

    @property
    def note(self) -> str:
        return (
            f"wandb offline: wandb sync {self._run.dir.removesuffix('/files')}" if self._offline else str(self._run.url)
        )

    def row(self, row: Mapping[str, float]) -> None:
        self._run.log(dict(row))

    def evaluation(self, result: EvaluationResult) -> None:
        logged: dict[str, Any] = {"evaluations/mean": result.mean_return, "frames": result.frames}
        if result.video:
            logged["video"] = self._wandb.Video(result.video, format="mp4")
        self._run.log(logged)

    def checkpoint(self, folder: Path, best: bool) -> None:
        if best:
            artifact = self._wandb.Artifact(f"best-{self._run.id}", "checkpoint")
            artifact.add_dir(str(folder))
            self._run.log_artifact(artifact)

    def close(self, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))
