"""The weights holder: the newest version's object reference, put once by the learner and read by everyone else."""

from __future__ import annotations

from typing import Any

import ray
from ray import ObjectRef

from apex_ray.nodes.flow import LatestCall
from apex_ray.types import Weights


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
    """An actor's side of it, as actor.variable_client.VariableSource: one request in flight, never waited for."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._call = LatestCall()

    def request(self, newer_than: int) -> None:
        if not self._call.busy:
            self._call.start(self._node.latest.remote(newer_than))

    def poll(self) -> Weights | None:
        return fetch(self._call.poll())


def fetch(answer: tuple[int, list[ObjectRef[Any]]] | None) -> Weights | None:
    """The weights that an answer of `latest` refers to."""
    return None if answer is None else Weights(answer[0], ray.get(answer[1][0]))
