"""Rows in, gauges and counters out. What Prometheus sees of them is tested with a real one."""

from __future__ import annotations

import math
from typing import Any

import pytest

from cluster import metrics
from trainkit.exported import Exported, Metric

COLUMNS = {
    "frames": Exported("apex_env_frames_total"),
    "fill": Exported("apex_replay_fill_ratio"),
    "last": Exported("apex_evaluation_return", {"of": "last"}),
    "best": Exported("apex_evaluation_return", {"of": "best"}),
}
METRICS = {name: Metric("-", "-", name) for name in COLUMNS}


class Recorded:
    """In place of Ray's metrics: what was told them."""

    made: list[Recorded]

    def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
        self.name, self.keys, self.told = name, tag_keys, list[tuple[float, dict[str, str]]]()
        self.made.append(self)

    def _tell(self, value: float, tags: dict[str, str]) -> None:
        assert set(tags) == set(self.keys)
        self.told.append((value, tags))

    set = _tell

    def add(self, value: float, tags: dict[str, str]) -> None:
        self._tell(value, tags)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    Recorded.made = []
    gauge, counter = type("Gauge", (Recorded,), {}), type("Total", (Recorded,), {})
    monkeypatch.setattr(metrics, "Gauge", gauge)
    monkeypatch.setattr(metrics, "Total", counter)
    return {"gauge": gauge, "counter": counter}


def test_gauges_keep_and_counters_add(made: dict[str, Any]) -> None:
    exporter = metrics.Exporter(METRICS, COLUMNS, {"run": "r1"})
    for frames, fill in ((100.0, 0.5), (250.0, 0.4), (250.0, math.nan), (240.0, math.inf)):
        exporter.export({"frames": frames, "fill": fill, "unknown": 1.0})
    frames_total, fill_ratio = Recorded.made
    assert isinstance(frames_total, made["counter"]) and isinstance(fill_ratio, made["gauge"])
    assert frames_total.name == "apex_env_frames", "Ray adds _total"
    assert frames_total.told == [(100.0, {"run": "r1"}), (150.0, {"run": "r1"})], "never back, never twice"
    assert [value for value, _ in fill_ratio.told] == [0.5, 0.4]


def test_columns_of_one_name_differ_in_a_label(made: dict[str, Any]) -> None:
    metrics.Exporter(METRICS, COLUMNS, {"run": "r1"}).export({"last": 1.0, "best": 2.0})
    (returns,) = Recorded.made
    assert returns.told == [(1.0, {"run": "r1", "of": "last"}), (2.0, {"run": "r1", "of": "best"})]
