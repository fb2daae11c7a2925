"""Central inference: one network acts for the environments of many actor processes, and batches what arrives together.

Of the whole run there is one process, or one of each node with actors (`actors.inference`). It pays where a GPU has
time to spare for it: the actors' cores then only emulate. With `actors.groups=2` an actor's other group emulates while
this one's answer is on its way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np

from apex_ray.agent.build import build_agent
from apex_ray.agent.contract import State
from apex_ray.config.schema import ApexConfig
from apex_ray.envs.own_code import unpack
from apex_ray.experience.variables import VariableClient
from apex_ray.nodes.central_inference import AFTER, BEFORE, OBSERVED, Answer, part
from apex_ray.nodes.living import LivingAsync, note_work
from apex_ray.nodes.shared_memory import Place
from apex_ray.nodes.weights_node import RemoteSource
from apex_ray.parts import build_inference
from apex_ray.process import prepare_process
from apex_ray.talk import ASK_EVERY_S, REPORT_EVERY_S
from apex_ray.types import AnyArray, EnvSpec, Observations

MOST_MEMORIES = 256  # of actors that stay mapped: what one that has gone leaves is bounded, too


class InferenceNode(LivingAsync):
    """An asyncio actor. While the network works on one batch, requests gather for the next: no waiting time to tune."""

    def __init__(
        self,
        config: ApexConfig,
        spec: EnvSpec,
        weights: Callable[[], Any],
        threads: int,
        name: str = "",
        metrics: Callable[[], Any] | None = None,
    ) -> None:
        """`weights` gives their holder; `metrics` gives whom it is told that it does not hang, by its `name`."""
        self._name, self._passes = name, 0
        self._metrics: Any = metrics and metrics()
        self._telling: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, initializer=prepare_process, initargs=(threads,))
        unpack(spec.env_id, spec.own_code)
        self._network = build_inference(config, build_agent(config, spec))
        self._variables = VariableClient(
            RemoteSource(weights(), ASK_EVERY_S), 1, lambda w: self._network.load(w.params, (config.seed, w.version))
        )
        self._attached = lru_cache(MOST_MEMORIES)(Place.attach)
        self._waiting: list[tuple[Observations, State, asyncio.Future[Answer]]] = []
        self._serving: asyncio.Task[None] | None = None

    async def infer(self, observations: Observations, state: State) -> Answer:
        """What the network gives for the E environments of an actor and their state [E, ...]."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((observations, state, answer))
        if self._serving is None or self._serving.done():
            self._serving = loop.create_task(self._serve())
        if self._telling is None and self._metrics is not None:
            self._telling = loop.create_task(self._tell())
        return await answer

    async def _tell(self) -> None:
        """Tell metrics now and then, but not while a pass does not end."""
        told = -1
        while True:
            if told != self._passes or self._serving is None or self._serving.done():
                self._metrics.works.remote(self._name)
            told = self._passes
            await asyncio.sleep(REPORT_EVERY_S)

    async def infer_at(self, place: Place) -> Answer | None:
        """The same for an actor that has put them into memory of this machine, where the state after goes too; None
        where this is another one.
        """
        if (memory := self._attached(place)) is None:
            return None
        outputs, after, version = await self.infer(part(OBSERVED, memory), part(BEFORE, memory))
        for name, array in part(AFTER, memory).items():
            array[:] = after[name]
        return outputs, {}, version

    async def _serve(self) -> None:
        """Answer until nobody waits."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                inputs = [o for o, _, _ in batch], [s for _, s, _ in batch]
                outputs, after = await loop.run_in_executor(self._thread, self._infer, *inputs)
            except Exception as error:
                for _, _, answer in batch:
                    answer.set_exception(error)
                continue
            first = 0
            for observations, _, answer in batch:
                rows = slice(first, first + len(next(iter(observations.values()))))
                answer.set_result((_rows(outputs, rows), _rows(after, rows), self._variables.version))
                first = rows.stop
            self._passes += 1
            note_work()

    def _infer(self, observations: list[Observations], states: list[State]) -> tuple[dict[str, AnyArray], State]:
        self._variables.step()
        if len(observations) == 1:
            return self._network(observations[0], states[0])
        return self._network(_joined(observations), _joined(states))


def _joined(parts: Sequence[Mapping[str, AnyArray]]) -> dict[str, AnyArray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _rows(arrays: dict[str, AnyArray], rows: slice) -> dict[str, AnyArray]:
    return {name: array[rows] for name, array in arrays.items()}
