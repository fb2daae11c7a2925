"""The weights holder: the newest version, put once into shared memory and read by everyone else."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray import ObjectRef
from ray.exceptions import ObjectLostError

from apex_ray.nodes.flow import LatestCall
from apex_ray.nodes.living import Living, note_work
from apex_ray.types import AnyArray, Weights

ASK_AGAIN_S = 0.05  # for a run's first weights


class WeightsNode(Living):
    """Keeps (version, reference). It owns what it refers to, so that weights outlive the learner that made them.

    References travel inside lists, so that Ray does not resolve them on the way. After a restart there are no weights
    until the learner publishes again; actors act on with those that they have.
    """

    def __init__(self) -> None:
        self._version = -1
        self._reference: list[ObjectRef[Any]] = []

    def publish(self, version: int, params: Mapping[str, AnyArray]) -> None:
        """Newest wins: an older version that arrives late is dropped, as are those of a learner that was set back."""
        if version > self._version:
            self._version, self._reference = version, [ray.put(params)]
        note_work()

    def latest(self, newer_than: int) -> tuple[int, list[ObjectRef[Any]]] | None:
        """The newest version if it is newer than that."""
        return (self._version, self._reference) if self._version > newer_than else None


class RemoteSource:
    """An actor's side of it, as experience/variables.py: one request in flight.

    Only the first weights are waited for: a process that is started anew, or of a resumed run, must not act with those
    that its network begins with. The learner publishes before it learns.
    """

    def __init__(self, node: Any, every_s: float = 0.0) -> None:
        """`every_s`: between two requests, at least; those that come sooner are not made."""
        self._node, self._every_s, self._asked_at = node, every_s, -math.inf
        self._call = LatestCall()
        self._first = True

    def request(self, newer_than: int) -> None:
        if not self._call.busy and (now := time.monotonic()) >= self._asked_at + self._every_s:
            self._asked_at = now
            self._call.start(self._node.latest.remote(newer_than))

    def poll(self) -> Weights | None:
        if not self._first:
            return fetch(self._call.poll())
        self._first = False
        while (newest := fetch(ray.get(self._node.latest.remote(-1)))) is None:
            time.sleep(ASK_AGAIN_S)
        return newest


def fetch(answer: tuple[int, list[ObjectRef[Any]]] | None) -> Weights | None:
    """The weights that an answer of `latest` refers to; None where they went with their holder."""
    try:
        return None if answer is None else Weights(answer[0], ray.get(answer[1][0]))
    except ObjectLostError:
        return None
