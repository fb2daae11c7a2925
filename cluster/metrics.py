"""Metrics for Prometheus under stable names: rows of numbers in, Ray's metrics port out.

Ray puts `ray_` before every name and its agents serve them on each node's metrics port, from where Prometheus takes
them (`apex-cluster up` and k8s/ say how). Names end in the unit; totals end in `_total` and are Prometheus counters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ray.util.metrics import Counter, Gauge

from cluster import ray_private
from trainkit.exported import Exported, Metric


class Total(Counter):
    """A counter that can stand at zero: none so far is a fact, which Prometheus should not have to guess."""

    def add(self, value: float, tags: dict[str, str]) -> None:
        ray_private.add(self, value, tags)


class Exporter:
    """Gauges and counters of one job; several columns may share a name and differ in their labels."""

    def __init__(
        self, metrics: Mapping[str, Metric], columns: Mapping[str, Exported], labels: Mapping[str, str]
    ) -> None:
        self._listed, self._columns, self._labels = metrics, columns, dict(labels)
        self._metrics: dict[str, Total | Gauge] = {}
        self._totals: dict[str, float] = {}

    def export(self, row: Mapping[str, float]) -> None:
        """Show a row's known columns; nan, infinities and unknown ones are left out."""
        for column, value in row.items():
            exported = self._columns.get(column)
            if exported is None or not math.isfinite(value):
                continue
            labels = {**self._labels, **exported.labels}
            metric = self._metric(exported, self._listed[column].meaning, tuple(labels))
            if isinstance(metric, Gauge):
                metric.set(value, tags=labels)
                continue
            # A resumed run goes on where it left off: the first value counts whole, later ones by their increase.
            before = self._totals.get(column)
            if before is None or value > before:
                metric.add(value - (before or 0.0), labels)
                self._totals[column] = value

    def _metric(self, exported: Exported, meaning: str, keys: tuple[str, ...]) -> Total | Gauge:
        if exported.name not in self._metrics:
            # Ray adds `_total` to a counter's name by itself.
            kind, name = (Total, exported.name.removesuffix("_total")) if exported.total else (Gauge, exported.name)
            self._metrics[exported.name] = kind(name, description=meaning, tag_keys=keys)
        return self._metrics[exported.name]
