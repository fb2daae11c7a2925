"""The files that a run's metrics and evaluations are written to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np

from apex_ray.report.metrics import EVALUATION_COLUMNS, METRICS
from apex_ray.types import EvaluationResult
from trainkit.errors import UserError, did_you_mean
from trainkit.files import append_csv
from trainkit.rows import FILE, Rows, is_row, repair

OF_AGENT = "agent_"  # how metrics begin that an agent or an objective of the user's own measures
COMPARED = ("evaluations/mean", "evaluations/max")  # TensorBoard's tags that runs are compared by


class MetricsWriter:
    """Appends rows to `run`/metrics.jsonl, evaluations to `run`/evaluations.csv, and both to `run`/tensorboard.

    A line is written whole or, with OSError, not at all; resuming drops a half one that a crash left. A resumed
    run whose counters step back to its checkpoint repeats some of its frames in the JSONL file; TensorBoard hides the
    earlier copy. UserError when not resuming and `run` already has metrics, or when a file can't be written.
    """

    def __init__(self, run: Path, resume: bool) -> None:
        rows, self._evaluations = run / FILE, run / "evaluations.csv"
        try:
            run.mkdir(parents=True, exist_ok=True)
            for path, whole in ((rows, is_row), (self._evaluations, _is_evaluation)):
                if not path.exists() or not path.stat().st_size:
                    continue
                if not resume:
                    raise UserError(f"{path} already holds a run: resume it or choose another folder")
                repair(path, whole)
            self._rows = Rows(run, METRICS, "frames", COMPARED, lambda first: first if resume else None)
            append_csv(self._evaluations, EVALUATION_COLUMNS, ())
        except OSError as error:
            raise UserError(f"can't write metrics to {run}: {error.strerror}") from None

    def write(self, row: Mapping[str, float]) -> None:
        """Append one row; a value that isn't finite becomes null. It needs `time_s` and `frames`.

        ValueError for a name that METRICS lacks, but for an agent's own, which begin with OF_AGENT: the list stays the
        whole truth.
        """
        for name in row:
            if name not in METRICS and not name.startswith(OF_AGENT):
                raise ValueError(f"unknown metric {name!r}.{did_you_mean(name, METRICS)} Add it to METRICS")
        if missing := {"time_s", "frames"} - row.keys():
            raise ValueError(f"a row of metrics lacks {', '.join(sorted(missing))}")
        self._rows.write(row)

    def evaluation(self, result: EvaluationResult, time_s: float) -> None:
        """Append an evaluation that belongs to the training time `time_s`."""
        returns, human = np.asarray(result.returns, np.float64), result.human_normalised
        if not len(returns):
            raise ValueError("an evaluation without episodes")
        scores: dict[str, float | int | None] = {
            "mean": float(returns.mean()),
            "std": float(returns.std()),
            "min": float(returns.min()),
            "max": float(returns.max()),
        }
        human_text = "" if human is None else f"{human:.6g}"
        line = [f"{time_s:.3f}", result.frames, result.updates, result.version]
        line += [*(f"{score:.6g}" for score in scores.values()), len(returns), human_text]
        append_csv(self._evaluations, EVALUATION_COLUMNS, [line])
        tags = {f"evaluations/{name}": score for name, score in scores.items()}
        self._rows.scalars({**tags, "evaluations/human_normalised": human}, result.frames)

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._rows.close()


def _is_evaluation(line: bytes) -> bool:
    return line.count(b",") == len(EVALUATION_COLUMNS) - 1
