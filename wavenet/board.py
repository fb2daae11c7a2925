"""The Grafana board of WaveNet: `python -m wavenet.board > cluster/dashboards/wavenet.json`."""

from __future__ import annotations

import json

from cluster.data_parallel import PROCESSES
from trainkit.board import board
from wavenet.metrics import EXPORTED, METRICS


def wavenet_board() -> str:
    """The board as JSON text."""
    return json.dumps(board("WaveNet", "wavenet", METRICS, EXPORTED, PROCESSES), indent=1) + "\n"


if __name__ == "__main__":
    print(wavenet_board(), end="")
