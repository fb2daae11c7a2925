"""What training measures, and where it is written: metrics.jsonl, TensorBoard, Prometheus by Ray."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cluster.exported import Exported, Metric
from cluster.runs import atomic_write

METRICS = {
    "step": Metric("progress", "steps", "updates of the weights so far"),
    "workers": Metric("progress", "processes", "workers that share each batch"),
    "bits": Metric("learning", "bits/sample", "mean over the last batch, which is learned from"),
    "validation_bits": Metric("learning", "bits/sample", "mean over held-out files, with the averaged weights"),
    "grad_norm": Metric("learning", "-", "norm of the gradient before it is clipped"),
    "samples_per_s": Metric("throughput", "samples/s", "predicted samples of all workers, since the last row"),
    "steps_per_s": Metric("throughput", "steps/s", "updates, since the last row"),
}

EXPORTED = {
    "step": Exported("wavenet_train_steps_total", METRICS["step"].meaning),
    "workers": Exported("wavenet_workers_running", METRICS["workers"].meaning),
    "bits": Exported("wavenet_bits_per_sample", METRICS["bits"].meaning, {"of": "batch"}),
    "validation_bits": Exported("wavenet_bits_per_sample", METRICS["validation_bits"].meaning, {"of": "validation"}),
    "grad_norm": Exported("wavenet_grad_norm", METRICS["grad_norm"].meaning),
    "samples_per_s": Exported("wavenet_samples_per_second", METRICS["samples_per_s"].meaning),
    "steps_per_s": Exported("wavenet_steps_per_second", METRICS["steps_per_s"].meaning),
}


class MetricsWriter:
    """Appends rows; one writer a run."""

    def __init__(self, run: Path, step: int) -> None:
        """Go on at `step`: rows after it, written by workers that were lost since, are dropped."""
        from torch.utils.tensorboard import SummaryWriter

        from cluster.metrics import Exporter

        path = run / "metrics.jsonl"
        if path.exists():
            rows = [row for row in path.read_text().splitlines(keepends=True) if row.endswith("\n")]
            atomic_write(path, "".join(row for row in rows if json.loads(row)["step"] <= step).encode())
        self._rows = path.open("a")
        self._board: Any = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)
        self._exporter = Exporter(EXPORTED, {"run": run.name})

    def write(self, row: Mapping[str, float]) -> None:
        """One row, which needs `step`."""
        assert row.keys() <= METRICS.keys()
        self._rows.write(json.dumps(dict(row)) + "\n")
        self._rows.flush()
        for name, value in row.items():
            if name != "step":
                self._board.add_scalar(f"{METRICS[name].group}/{name}", value, int(row["step"]))
        self._board.flush()
        self._exporter.export(row)

    def excerpt(self, made: np.ndarray[Any, np.dtype[np.float32]], rate: int, step: int) -> None:
        """Sound and its picture, for TensorBoard."""
        from wavenet.plots import spectrogram

        self._board.add_audio("excerpt", made[None], step, sample_rate=rate)
        self._board.add_figure("excerpt", spectrogram(made, rate), step)

    def close(self) -> None:
        self._rows.close()
        self._board.close()


def line(row: Mapping[str, float], steps: int) -> str:
    """A row for the console."""
    at = f"step {int(row['step']):>7,} of {steps:,}"
    if "validation_bits" in row:
        return f"{at}  validation {row['validation_bits']:.4f} bits/sample"
    return (
        f"{at}  bits {row['bits']:7.4f}  gradient {row['grad_norm']:6.2f}  {row['samples_per_s']:9,.0f} samples/s"
        f"  {row['steps_per_s']:5.2f} steps/s  workers {int(row['workers'])}"
    )
