"""What training measures, its names in Prometheus, and a row of it for the console.

`python -m lstm.metrics > cluster/dashboards/lstm.json` writes the Grafana board of all of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from cluster.workers_config import PROCESSES
from trainkit.board import board
from trainkit.exported import Exported, Metric

METRICS = {
    "step": Metric("progress", "updates", "updates of the weights so far"),
    "workers": Metric("progress", "processes", "workers that share each batch"),
    "loss": Metric("learning", "-", "the task's cost, mean over the last batch, which is learned from"),
    "validation_loss": Metric("learning", "-", "the task's cost, mean over held-out data"),
    "best_loss": Metric("learning", "-", "lowest validation_loss so far: its weights are the ones that are used"),
    "grad_norm": Metric("learning", "-", "norm of the gradient before it is clipped"),
    "timesteps_per_s": Metric("throughput", "timesteps/s", "of all sequences and workers, since the last row"),
    "updates_per_s": Metric("throughput", "updates/s", "since the last row"),
}

EXPORTED = {
    "step": Exported("lstm_train_updates_total"),
    "workers": Exported("lstm_workers_running"),
    "loss": Exported("lstm_loss", {"of": "batch"}),
    "validation_loss": Exported("lstm_loss", {"of": "validation"}),
    "best_loss": Exported("lstm_loss", {"of": "best"}),
    "grad_norm": Exported("lstm_grad_norm"),
    "timesteps_per_s": Exported("lstm_timesteps_per_second"),
    "updates_per_s": Exported("lstm_updates_per_second"),
}


def line(row: Mapping[str, float], steps: int, unit: str) -> str:
    """A row for the console."""
    at = f"step {int(row['step']):>7,} of {steps:,}"
    if "validation_loss" in row:
        return f"{at}  validation {row['validation_loss']:z.4f} {unit}, best {row['best_loss']:z.4f}"
    return (
        f"{at}  loss {row['loss']:z8.4f}  gradient {row['grad_norm']:7.3f}  {row['timesteps_per_s']:10,.0f} timesteps/s"
        f"  {row['updates_per_s']:6.2f} updates/s  workers {int(row['workers'])}"
    )


def lstm_board() -> str:
    return board("LSTM", "apex-lstm", METRICS, EXPORTED, PROCESSES)


if __name__ == "__main__":
    print(lstm_board(), end="")
