"""What trainers measure, and the names under which it reaches Prometheus.

Kept apart from Ray: lists of metrics are read without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Metric(NamedTuple):
    """One number that a trainer measures again and again."""

    group: str  # TensorBoard and Grafana show a group's metrics together
    unit: str
    meaning: str


@dataclass(frozen=True)
class Exported:
    """How one column of a row is exported: its name without Ray's prefix, and fixed labels such as the epsilon band."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def total(self) -> bool:
        """Whether it only grows: a counter."""
        return self.name.endswith("_total")

    @property
    def prometheus(self) -> str:
        """The name Prometheus sees."""
        return f"ray_{self.name}"
