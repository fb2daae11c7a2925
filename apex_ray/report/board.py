"""The Grafana board of a run: `python -m apex_ray.report.board > cluster/dashboards/apex.json`."""

from __future__ import annotations

from apex_ray.report.metrics import EXPORTED, METRICS
from trainkit.board import board

PROCESSES = ".*Node"  # the classes of all our actors end so


def apex_board() -> str:
    return board("Ape-X", "apex-ray", METRICS, EXPORTED, PROCESSES)


if __name__ == "__main__":
    print(apex_board(), end="")
