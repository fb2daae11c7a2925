"""MLflow: settings as parameters, metrics, the best episode's video and the best checkpoint as artifacts.

MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME say where to; without, mlflow.db beside the run folders.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apex_ray.types import EvaluationResult
from trainkit.errors import optional
from trainkit.files import atomic_write
from trainkit.rows import flat

ID_FILE = "mlflow_id"  # in the run folder, so that a resumed run goes on in the same place
LONGEST_VALUE = 6000  # characters, of a parameter's


class MlflowLogger:
    @staticmethod
    def check() -> None:
        optional("mlflow")
        optional("sqlalchemy")  # what its local store needs

    def __init__(self, run: Path, settings: Mapping[str, Any], resume: bool) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        self._metric, self._folder, folder = Metric, run, run.absolute().parent
        self._uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}"
        self._client, file = MlflowClient(tracking_uri=self._uri), run / ID_FILE
        if file.exists():
            self._id = file.read_text()
            self._client.update_run(self._id, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "apex-ray")
        known = self._client.get_experiment_by_name(name)
        place = None if "MLFLOW_TRACKING_URI" in os.environ else (folder / "mlartifacts").as_uri()
        experiment = known.experiment_id if known else self._client.create_experiment(name, artifact_location=place)
        self._id = self._client.create_run(experiment, run_name=run.name).info.run_id
        atomic_write(file, self._id.encode())
        params = [Param(key, str(value)[:LONGEST_VALUE]) for key, value in flat(settings)]
        self._client.log_batch(self._id, params=params)

    @property
    def note(self) -> str:
        return f"mlflow at {self._uri}"

    def row(self, row: Mapping[str, float]) -> None:
        self._log(row, int(row["frames"]))

    def evaluation(self, result: EvaluationResult) -> None:
        self._log({"evaluations/mean": result.mean_return}, result.frames)
        if result.video:
            self._client.log_artifact(self._id, result.video, "videos")

    def _log(self, values: Mapping[str, float], frames: int) -> None:
        now = int(time.time() * 1000)
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        metrics = [self._metric(name, value, now, frames) for name, value in finite.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def checkpoint(self, folder: Path, best: bool) -> None:
        if best:
            self._client.log_artifacts(self._id, str(folder), "checkpoints/best")

    def close(self, failed: bool) -> None:
        self._client.set_terminated(self._id, "FAILED" if failed else "FINISHED")
