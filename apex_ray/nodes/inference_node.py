"""Central inference: one network acts for the environments of many actor processes, and batches what arrives together.

It pays where a GPU has time to spare for it: the actors' cores then only emulate. With `actors.groups=2` an actor's
other group emulates while this one's answer is on its way.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import ray
from ray import ObjectRef

from apex_ray.actor.variable_client import VariableClient
from apex_ray.config.schema import ApexConfig
from apex_ray.nodes.weights_node import RemoteSource
from apex_ray.parts import build_inference
from apex_ray.process import prepare_process
from apex_ray.types import AnyArray, EnvSpec, FloatArray


class InferenceNode:
    """An asyncio actor. While the network works on one batch, requests gather for the next: no waiting time to tune."""

    def __init__(self, config: ApexConfig, spec: EnvSpec, weights: Any, threads: int) -> None:
        self._thread = ThreadPoolExecutor(1, initializer=prepare_process, initargs=(threads,))
        self._network = build_inference(config, spec)
        self._variables = VariableClient(RemoteSource(weights), 1, lambda w: self._network.load(w.params))
        self._waiting: list[tuple[AnyArray, asyncio.Future[tuple[FloatArray, int]]]] = []
        self._serving: asyncio.Task[None] | None = None

    async def q_values(self, observations: AnyArray) -> tuple[FloatArray, int]:
        """Observations [E, S, *F] -> (Q-values float32 [E, A], version of the weights they come from)."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[FloatArray, int]] = loop.create_future()
        self._waiting.append((observations, answer))
        if self._serving is None or self._serving.done():
            self._serving = loop.create_task(self._serve())
        return await answer

    async def _serve(self) -> None:
        """Answer until nobody waits."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                q_values = await loop.run_in_executor(self._thread, self._infer, [o for o, _ in batch])
            except Exception as error:
                for _, answer in batch:
                    answer.set_exception(error)
                continue
            first = 0
            for observations, answer in batch:
                answer.set_result((q_values[first : first + len(observations)], self._variables.version))
                first += len(observations)

    def _infer(self, observations: list[AnyArray]) -> FloatArray:
        self._variables.step()
        return self._network(observations[0] if len(observations) == 1 else np.concatenate(observations))


class CentralInference:
    """An actor's side: its Q-function and its variable client in one, since weights never come here."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self.version = -1

    def __call__(self, observations: AnyArray) -> FloatArray:
        call: ObjectRef[Any] = self._node.q_values.remote(observations)
        q_values: FloatArray
        q_values, version = ray.get(call)
        self.version = max(self.version, version)
        return q_values

    def step(self) -> None:
        """Nothing to fetch."""
