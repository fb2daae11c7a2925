"""What training measures, its names in Prometheus, and a row of it for the console.

`python -m wavenet.metrics > cluster/dashboards/wavenet.json` writes the Grafana board of all of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from cluster.workers_config import PROCESSES
from trainkit.board import board
from trainkit.exported import Exported, Metric

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
    "step": Exported("wavenet_train_steps_total"),
    "workers": Exported("wavenet_workers_running"),
    "bits": Exported("wavenet_bits_per_sample", {"of": "batch"}),
    "validation_bits": Exported("wavenet_bits_per_sample", {"of": "validation"}),
    "grad_norm": Exported("wavenet_grad_norm"),
    "samples_per_s": Exported("wavenet_samples_per_second"),
    "steps_per_s": Exported("wavenet_steps_per_second"),
}


def line(row: Mapping[str, float], steps: int) -> str:
    """A row for the console."""
    at = f"step {int(row['step']):>7,} of {steps:,}"
    if "validation_bits" in row:
        return f"{at}  validation {row['validation_bits']:z.4f} bits/sample"
    return (
        f"{at}  bits {row['bits']:z7.4f}  gradient {row['grad_norm']:6.2f}  {row['samples_per_s']:9,.0f} samples/s"
        f"  {row['steps_per_s']:5.2f} steps/s  workers {int(row['workers'])}"
    )


def wavenet_board() -> str:
    return board("WaveNet", "wavenet", METRICS, EXPORTED, PROCESSES)


if __name__ == "__main__":
    print(wavenet_board(), end="")
