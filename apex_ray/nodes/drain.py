"""Nodes whose machine is about to be taken away, as a spot machine is: Ray tells, when it is told."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from cluster.ray_private import draining_nodes

LOOK_EVERY_S = 3.0


class Drain:
    """Looks every few seconds which nodes have got their notice."""

    def __init__(self) -> None:
        self.nodes: dict[str, float] = {}  # by id: seconds until it goes, inf where nobody said when
        self._known: set[str] = set()
        self._looked_at = -math.inf

    def look(self) -> dict[str, float]:
        """Those of `nodes` that were not among them before."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY_S:
            return {}
        self._looked_at, self.nodes = now, draining_nodes()
        new = {node: left_s for node, left_s in self.nodes.items() if node not in self._known}
        self._known |= set(new)
        return new


def notice(address: str, left_s: float, actors: Sequence[str], others: bool) -> str:
    """What a node's notice means for a run with these actors, and `others` of its parts, on it."""
    when = "" if math.isinf(left_s) else f" in {max(left_s, 0):.0f} s"
    done = [f"{', '.join(actors)}: to leave when all that was sent is stored"] if actors else []
    done += ["a checkpoint is written now, for other parts are on it"] if others else []
    return f"node {address} is to be taken away{when}; {'; '.join(done)}"
