"""Which nodes have a relay (nodes/relay_node.py): those that may hold more than a few of a run's actors."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from apex_ray.talk import FEW_ACTORS

LINGERS_S = 10.0  # after a node's last actor, whose reports it may have, and in whose place another may come there


@dataclass
class Relay:
    """One that was asked of Ray."""

    name: str
    handle: Any
    alone_since: float | None = None  # since when its node has no actor


class Relays:
    """Made with a node's first actor, ended after its last. Where weights and metrics are, none is needed."""

    def __init__(self, actors: int, room: Callable[[str], int], home: Callable[[], str | None]) -> None:
        """`actors`: of the run. `room` gives how many of them a node may hold, `home` the node of weights and metrics;
        nodes are known by their ids.
        """
        self._actors, self._room, self._home = actors, room, home
        self._relays: dict[str, Relay | None] = {}  # by node; None: it needs none
        self._retired = list[Relay]()
        self._made = 0

    def of(self, node: str, make: Callable[[int], Relay]) -> Any | None:
        """The handle of that node's, for an actor that has come there; `make` is called with a number where there is to
        be one and is none yet.
        """
        if self._actors <= FEW_ACTORS:
            return None
        if node not in self._relays:
            self._relays[node] = None
            if min(self._actors, self._room(node)) > FEW_ACTORS and node != self._home():
                self._relays[node] = make(self._made)
                self._made += 1
        if (relay := self._relays[node]) is None:
            return None
        relay.alone_since = None
        return relay.handle

    def left(self, node: str) -> None:
        """Its last actor has gone."""
        if relay := self._relays.get(node):
            relay.alone_since = time.monotonic()

    def retire(self, node: str) -> None:
        """Whoever talks to that node's is ended; who comes there next has another one."""
        if relay := self._relays.pop(node, None):
            relay.alone_since = time.monotonic()
            self._retired.append(relay)

    def to_end(self) -> list[Relay]:
        """Those that nobody has talked to for a while, each once."""
        for node, relay in list(self._relays.items()):
            if relay and _lingered(relay):
                self._retired.append(relay)
                del self._relays[node]
        ended = [relay for relay in self._retired if _lingered(relay)]
        self._retired = [relay for relay in self._retired if relay not in ended]
        return ended

    def without_those_behind(self, hung: Mapping[str, str], on: Callable[[str], Collection[str]]) -> dict[str, str]:
        """Of parts that have not reported, and why, those whose relay has; `on` gives the actors of a node by name."""
        relays = [(node, relay.name) for node, relay in self._relays.items() if relay]
        behind = {part for node, name in relays if name in hung for part in on(node)}
        return {part: why for part, why in hung.items() if part not in behind}

    @property
    def names(self) -> list[str]:
        return [relay.name for relay in self._relays.values() if relay]


def _lingered(relay: Relay) -> bool:
    return relay.alone_since is not None and time.monotonic() - relay.alone_since > LINGERS_S
