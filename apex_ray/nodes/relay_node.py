"""A node's relay: its actors ask it for weights and report to it, and it does so once for all of them.

So the weights' holder and metrics see as many who talk to them as there are nodes, not actors. To an actor it stands
for both: the calls are theirs.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

import ray
from ray import ObjectRef
from ray.exceptions import RayActorError

from apex_ray.nodes.living import LivingAsync, note_work
from apex_ray.nodes.weights_node import fetch
from apex_ray.report.tally import ActorReport
from apex_ray.talk import ASK_EVERY_S, GATHER_S


class RelayNode(LivingAsync):
    """An asyncio actor. Ray starts it anew in its place and repeats to it what it has not answered. A report is
    answered when metrics have it, so none is lost, and they know one again that they had.
    """

    def __init__(self, name: str, weights: Callable[[], Any], metrics: Callable[[], Any]) -> None:
        """`weights` and `metrics` give the processes that it stands for."""
        self._name, self._weights, self._metrics = name, weights(), metrics()
        self._version = -1
        self._reference: list[ObjectRef[Any]] = []
        self._asking: asyncio.Task[None] | None = None
        self._asked_at = self._sent_at = -math.inf
        self._reports: list[tuple[ActorReport, asyncio.Future[bool]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def latest(self, newer_than: int) -> tuple[int, list[ObjectRef[Any]]] | None:
        """What `WeightsNode.latest` gives, asked for by all at once; the reference is to a copy on this node."""
        if self._version <= newer_than:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.get_running_loop().create_task(self._ask())
            await asyncio.shield(self._asking)  # who stops waiting does not stop it for the others
        return (self._version, self._reference) if self._version > newer_than else None

    async def _ask(self) -> None:
        """Have what the holder has, as a copy: Ray asks whoever has made an object about each process that uses it."""
        await asyncio.sleep(self._asked_at + ASK_EVERY_S - time.monotonic())
        self._asked_at = time.monotonic()
        answer = await self._weights.latest.remote(self._version)
        newest = await asyncio.get_running_loop().run_in_executor(None, fetch, answer)
        if newest is not None:
            self._version, self._reference = newest.version, [ray.put(newest.params)]
            note_work()

    async def actor(self, report: ActorReport) -> bool:
        """Whether that actor is to leave, when metrics have the report."""
        loop = asyncio.get_running_loop()
        leave: asyncio.Future[bool] = loop.create_future()
        self._reports.append((report, leave))
        if self._sending is None or self._sending.done():
            self._sending = loop.create_task(self._send())
        return await asyncio.shield(leave)

    async def _send(self) -> None:
        """Send what gathers, until nothing has."""
        while self._reports:
            await asyncio.sleep(self._sent_at + GATHER_S - time.monotonic())
            self._sent_at = time.monotonic()
            gathered, self._reports = self._reports, []
            try:
                told = await self._metrics.relayed.remote(self._name, [report for report, _ in gathered])
            except RayActorError:  # they may have been counted: as where an actor reports by itself
                told = [False] * len(gathered)
            except Exception as error:
                for _, leave in gathered:
                    leave.set_exception(error)
                continue
            note_work()
            for (_, leave), is_to in zip(gathered, told, strict=True):
                leave.set_result(is_to)

    async def say(self, text: str) -> None:
        """Pass on a line for the user."""
        await self._metrics.say.remote(text)
