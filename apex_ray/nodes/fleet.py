"""The actor processes: which act, which wait for room on the cluster, which were lost with their node.

All of them are asked of Ray at once. Those without room are pending, which is also what an autoscaler acts on, and
start by themselves when a node joins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import ray
from ray import ObjectRef

from apex_ray.nodes.cluster_nodes import ClusterNodes
from apex_ray.nodes.processes import Process
from apex_ray.nodes.supervise import Gone, has_ended
from trainkit.errors import UserError
from trainkit.words import plural

SETTLED_S = 10.0  # without a change before it is worth a line: starting actors come one by one


@dataclass
class Member:
    """One actor process."""

    handle: Any
    process: Process | None = None  # known when it has started
    begun: ObjectRef[Any] | None = None  # ends when it has done some work
    dismissed: bool = False

    @property
    def node(self) -> str | None:
        """The id of its node."""
        return self.process.node if self.process else None


class Fleet:
    """Knows where the actors are; counts only those that run. `has_room`: whether there is some for all of them."""

    def __init__(
        self,
        minimum: int,
        shortage_s: float,
        has_room: bool,
        say: Callable[[str], None],
        nodes: ClusterNodes,
    ) -> None:
        self._minimum, self._shortage_s, self._say, self._nodes = minimum, shortage_s, say, nodes
        self._pending = "starting" if has_room else "starting, or waiting for room"
        self._members: dict[int, Member] = {}
        self._enough_at = self._changed_at = time.monotonic()
        self._running = self._last_running = 0
        self._shown: int | None = None  # None: all, as everyone expects

    def add(self, index: int, handle: Any) -> None:
        """Actor `index` was asked of Ray, in place of an earlier one of that index."""
        self._members[index] = Member(handle)

    def started(self, index: int, process: Process) -> Any:
        """Actor `index` has started: its handle."""
        member = self._members[index]
        member.process = process
        self._running += 1
        return member.handle

    def begins(self, index: int, begun: ObjectRef[Any]) -> None:
        """Actor `index` was told to act; that call ends when it has done some work."""
        self._members[index].begun = begun

    def __contains__(self, index: int) -> bool:
        return index in self._members

    @property
    def running(self) -> int:
        return self._running

    @property
    def names(self) -> list[str]:
        """Of those that run."""
        return [f"actor {index}" for index, member in self._members.items() if member.node is not None]

    @property
    def processes(self) -> dict[str, Process]:
        """Of those that run, by name."""
        return {f"actor {i}": member.process for i, member in self._members.items() if member.process is not None}

    def gone(self, index: int) -> Gone:
        """What is known of actor `index`, which has ended or is out of reach."""
        member = self._members[index]
        worked = member.begun is not None and has_ended(member.begun)
        return Gone(self._nodes.lost(member.node), member.dismissed, not worked)

    def on(self, node: str) -> list[str]:
        """The names of the actors on that node."""
        return [f"actor {index}" for index, member in self._members.items() if member.node == node]

    def dismiss(self, nodes: Collection[str]) -> list[str]:
        """The names of the actors on these nodes, which are to leave: they are replaced when they have."""
        leaving = {i: m for i, m in self._members.items() if m.node in nodes}
        for member in leaving.values():
            member.dismissed = True
        return [f"actor {index}" for index in leaving]

    def forget(self, index: int) -> str | None:
        """Actor `index` is gone: the id of the node that it was on, None where it had not started. Should it only be
        out of reach, it must not come back beside its successor.
        """
        member = self._members[index]
        node = member.node
        ray.kill(member.handle)
        self._running -= node is not None
        member.process = None
        return node

    def end(self, name: str) -> None:
        """End the process of the actor of that name; its loop's call fails, and that is answered."""
        ray.kill(self._members[int(name.removeprefix("actor "))].handle)

    def check(self) -> None:
        """Say how many run. UserError when fewer than the minimum ran for too long."""
        now, running, total = time.monotonic(), self._running, len(self._members)
        if running != self._last_running:
            self._last_running, self._changed_at = running, now
        shown = total if self._shown is None else self._shown
        if running != shown and (running == total or now - self._changed_at > SETTLED_S):
            others = "" if running == total else f", {total - running} {self._pending}"
            self._say(f"{plural(running, 'actor')} of {total} running{others}")
            self._shown = running
        if running >= self._minimum:
            self._enough_at = now
        elif now - self._enough_at > self._shortage_s:
            raise UserError(
                f"{plural(running, 'actor')} ran for the last {self._shortage_s:g} s (cluster.shortage_s) and "
                f"actors.count asks for at least {self._minimum}"
            )

    def kill(self) -> None:
        """End all of them."""
        for member in self._members.values():
            ray.kill(member.handle)
