"""How many workers an elastic job gets on a cluster that others use too.

Ray Train's own policy counts the nodes as if nothing else ran on them. Beside Ape-X it asks for CPUs that actors hold,
waits a minute for them in vain, and asks again, for ever; a job that runs is stopped for it every minute. Here what
is free counts, and a running job grows only right after a checkpoint, so that nothing is computed twice.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cluster.ray_private import Held
from cluster.resources import Bundle, Node, fit, snapshot
from trainkit.checkpoints import whole
from trainkit.runs import STOP_FILE


class FreeRoom:
    """As many workers as fit what is free and what the job itself holds."""

    def __init__(self, worker: Bundle, run: Path) -> None:
        self._worker, self._run = worker, run
        self._checkpoint: Path | None = None  # after which it was last considered whether to grow

    def workers(self, held: Held) -> int:
        """How many there is room for, with what the job's own have now."""
        return fit([self._worker], with_own(snapshot(), held)).count(self._worker)

    def may_grow(self) -> bool:
        """True once after each checkpoint, unless the run is asked to end."""
        kept = whole(self._run)
        newest = kept[-1] if kept else None
        if newest == self._checkpoint or (self._run / STOP_FILE).exists():
            return False
        self._checkpoint = newest
        return True


def with_own(nodes: list[Node], held: Held) -> list[Node]:
    """The nodes as if what is `held` were free."""
    free = {node.id: dict(node.free) for node in nodes}
    for id, resources in held:
        for kind, amount in resources.items():
            if id in free:
                free[id][kind] = free[id].get(kind, 0.0) + amount
    return [replace(node, free=free[node.id]) for node in nodes]
