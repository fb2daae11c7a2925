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

from apex_ray.nodes.processes import Process
from apex_ray.nodes.supervise import Gone, has_ended
from trainkit.errors import UserError
from trainkit.words import plural

SETTLED_S = 10.0  # without a change before it is worth a line: starting actors come one by one


@dataclass
class Member:
    """One actor process."""

    handle: Any
    placed: ObjectRef[Process]  # known when it has started
    begun: ObjectRef[Any]  # ends when it has done some work
    process: Process | None = None
    dismissed: bool = False

    @property
    def node(self) -> str | None:
        """The id of its node."""
        return self.process.node if self.process else None


class Fleet:
    """Knows where the actors are; counts only those that run. `has_room`: whether there is some for all of them."""

    def __init__(self, minimum: int, shortage_s: float, has_room: bool, say: Callable[[str], None]) -> None:
        self._minimum, self._shortage_s, self._say = minimum, shortage_s, say
        self._pending = "starting" if has_room else "starting, or waiting for room"
        self._members: dict[int, Member] = {}
        self._enough_at = self._changed_at = time.monotonic()
        self._running = 0
        self._shown: int | None = None  # None: all, as everyone expects

    def add(self, index: int, handle: Any, placed: ObjectRef[Process], begun: ObjectRef[Any]) -> None:
        """Actor `index` was asked of Ray, in place of an earlier one of that index."""
        self._members[index] = Member(handle, placed, begun)

    def __contains__(self, index: int) -> bool:
        return index in self._members

    @property
    def running(self) -> int:
        return sum(member.node is not None for member in self._members.values())

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
        return Gone(_lost(member.node), member.dismissed, not has_ended(member.begun))

    def on(self, node: str) -> list[str]:
        """The names of the actors on that node."""
        return [f"actor {index}" for index, member in self._members.items() if member.node == node]

    def dismiss(self, nodes: Collection[str]) -> list[str]:
        """The names of the actors on these nodes, which are to leave: they are replaced when they have."""
        leaving = {i: m for i, m in self._members.items() if m.node in nodes}
        for member in leaving.values():
            member.dismissed = True
        return [f"actor {index}" for index in leaving]

    def forget(self, index: int) -> None:
        """Actor `index` is gone. Should it only be out of reach, it must not come back beside its successor."""
        ray.kill(self._members[index].handle)
        self._members[index].process = None

    def end(self, name: str) -> None:
        """End the process of the actor of that name; its loop's call fails, and that is answered."""
        ray.kill(self._members[int(name.removeprefix("actor "))].handle)

    def check(self) -> None:
        """Look who has started. UserError when fewer than the minimum ran for too long."""
        waiting = {member.placed: member for member in self._members.values() if member.node is None}
        if waiting:
            started, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=0)
            for placed in started:
                try:
                    waiting[placed].process = ray.get(placed)
                except ray.exceptions.RayError:
                    continue  # its loop's call fails too, and that is answered
        now, running, total = time.monotonic(), self.running, len(self._members)
        if running != self._running:
            self._running, self._changed_at = running, now
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


def address_of(node: str) -> str:
    """The address of the node with that id."""
    known = {n["NodeID"]: str(n["NodeManagerAddress"]) for n in ray.nodes()}  # type: ignore[no-untyped-call]
    return known.get(node, node)


def _lost(node: str | None) -> str | None:
    """The address of that node where it is gone."""
    for known in ray.nodes():  # type: ignore[no-untyped-call]
        if known["NodeID"] == node:
            return None if known["Alive"] else str(known["NodeManagerAddress"])
    return None
