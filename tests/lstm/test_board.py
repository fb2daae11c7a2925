"""The Grafana board against the list of metrics."""

from importlib.resources import files

from lstm.metrics import EXPORTED, METRICS, lstm_board


def test_the_board_is_what_the_list_of_metrics_says():
    board = files("cluster").joinpath("dashboards/lstm.json").read_text()
    assert board == lstm_board(), "run: python -m lstm.metrics > cluster/dashboards/lstm.json"
    assert EXPORTED.keys() == METRICS.keys() and all(export.prometheus in board for export in EXPORTED.values())
