"""The nodes of the cluster as the driver asks for them: seldom, however many processes it asks about."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray

LOOK_EVERY_S = 1.0  # a node that is lost takes all its processes along, each of which is asked about


class ClusterNodes:
    def __init__(self, look: Callable[[], Sequence[Mapping[str, Any]]] = ray.nodes) -> None:
        self._look = look
        self._known: dict[str, Mapping[str, Any]] = {}  # by id
        self._looked_at = -math.inf

    def lost(self, node: str | None) -> str | None:
        """The address of the node with that id where it is gone."""
        known = self._of(node)
        return str(known["NodeManagerAddress"]) if known and not known["Alive"] else None

    def address(self, node: str) -> str:
        """Of the node with that id."""
        known = self._of(node)
        return str(known["NodeManagerAddress"]) if known else node

    def cpus(self, node: str) -> float:
        """That the node with that id has, in use or not; 0 of one that is gone."""
        known = self._of(node)
        return float(known["Resources"].get("CPU", 0.0)) if known and known["Alive"] else 0.0

    def _of(self, node: str | None) -> Mapping[str, Any] | None:
        if time.monotonic() - self._looked_at >= LOOK_EVERY_S or (node is not None and node not in self._known):
            self._known = {str(found["NodeID"]): found for found in self._look()}
            self._looked_at = time.monotonic()
        return self._known.get(node or "")
