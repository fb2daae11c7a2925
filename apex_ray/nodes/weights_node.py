"""The weights holder: the newest version's object reference, put once by the learner and read by everyone else."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray import ObjectRef

from apex_ray.nodes.flow import LatestCall
from apex_ray.types import Weights

ASK_AGAIN_S = 0.05  # for a run's first weights


class WeightsNode:
    """Keeps (version, reference). References travel inside lists, so that Ray does not resolve them on the way."""

    def __init__(self) -> None:
        self._version = -1
        self._reference: list[ObjectRef[Any]] = []

    def publish(self, version: int, reference: list[ObjectRef[Any]]) -> None:
        """Newest wins: an older version that arrives late is dropped."""
        if version > self._version:
            self._version, self._reference = version, reference

    def latest(self, newer_than: int) -> tuple[int, list[ObjectRef[Any]]] | None:
        """The newest version if it is newer than that."""
        return (self._version, self._reference) if self._version > newer_than else None


class RemoteSource:
    """An actor's side of it, as experience/variables.py: one request in flight.

    Only the first weights are waited for: a process that is started anew, or of a resumed run, must not act with those
    that its network begins with. The learner publishes before it learns.
    """

    def __init__(self, node: Any) -> None:
        self._node = node
        self._call = LatestCall()
        self._first = True

    def request(self, newer_than: int) -> None:
        if not self._call.busy:
            self._call.start(self._node.latest.remote(newer_than))

    def poll(self) -> Weights | None:
        if not self._first:
            return fetch(self._call.poll())
        self._first = False
        while (newest := fetch(ray.get(self._node.latest.remote(-1)))) is None:
            time.sleep(ASK_AGAIN_S)
        return newest


def fetch(answer: tuple[int, list[ObjectRef[Any]]] | None) -> Weights | None:
    """The weights that an answer of `latest` refers to."""
    return None if answer is None else Weights(answer[0], ray.get(answer[1][0]))
