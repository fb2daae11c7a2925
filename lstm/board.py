"""The Grafana board of LSTM runs: `python -m lstm.board > cluster/dashboards/lstm.json`."""

from __future__ import annotations

import json

from cluster.data_parallel import PROCESSES
from lstm.metrics import EXPORTED, METRICS
from trainkit.board import board


def lstm_board() -> str:
    """The board as JSON text."""
    return json.dumps(board("LSTM", "apex-lstm", METRICS, EXPORTED, PROCESSES), indent=1) + "\n"


if __name__ == "__main__":
    print(lstm_board(), end="")
