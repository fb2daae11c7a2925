"""Processes of which a node with actors has one of its own, of one kind: relays (nodes/relay_node.py), or inference
(nodes/inference_node.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LINGERS_S = 10.0  # after a node's last actor, which it may still work for, and in whose place another may come there


@dataclass
class Helper:
    """One that was asked of Ray."""

    name: str
    handle: Any
    alone_since: float | None = None  # since when its node has no actor


class PerNode:
    """Made with a node's first actor, ended after its last."""

    def __init__(self, wanted: Callable[[str], bool]) -> None:
        """`wanted`: whether the node of that id is to have one, asked when its first actor has come."""
        self._wanted = wanted
        self._helpers: dict[str, Helper | None] = {}  # by node; None: it has none
        self._retired = list[Helper]()
        self._made = 0

    def of(self, node: str, make: Callable[[int], Helper]) -> Any | None:
        """The handle of that node's, for an actor that has come there; `make` is called with a number where there is to
        be one and is none yet.
        """
        if node not in self._helpers:
            self._helpers[node] = None
            if self._wanted(node):
                self._helpers[node] = make(self._made)
                self._made += 1
        if (helper := self._helpers[node]) is None:
            return None
        helper.alone_since = None
        return helper.handle

    def left(self, node: str) -> None:
        """Its last actor has gone."""
        if helper := self._helpers.get(node):
            helper.alone_since = time.monotonic()

    def retire(self, node: str) -> None:
        """Whoever talks to that node's is ended; who comes there next has another one."""
        if helper := self._helpers.pop(node, None):
            helper.alone_since = time.monotonic()
            self._retired.append(helper)

    def to_end(self) -> list[Helper]:
        """Those that nobody has talked to for a while, each once."""
        for node, helper in list(self._helpers.items()):
            if helper and _lingered(helper):
                self._retired.append(helper)
                del self._helpers[node]
        ended = [helper for helper in self._retired if _lingered(helper)]
        self._retired = [helper for helper in self._retired if helper not in ended]
        return ended

    @property
    def names(self) -> dict[str, str]:
        """By node."""
        return {node: helper.name for node, helper in self._helpers.items() if helper}


def _lingered(helper: Helper) -> bool:
    return helper.alone_since is not None and time.monotonic() - helper.alone_since > LINGERS_S
