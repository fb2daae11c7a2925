"""Actors and a learner that do no work: the calls of real ones, from few processes, for benchmarks/load.py.

A simulated actor is apex_ray/nodes/actor_node.py itself in a thread, without environments and network: what it sends is
ready, and time passes instead of steps. So it asks for weights, sends chunks, waits for them and reports by the same
lines of code. Many of them are in one process of a node (`Host`); each is one to the driver.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import ray
from ray import ObjectRef
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from apex_ray.agent.build import build_agent
from apex_ray.config.schema import ApexConfig
from apex_ray.experience.variables import VariableClient
from apex_ray.fields import stored
from apex_ray.nodes.actor_node import ActorNode
from apex_ray.nodes.flow import remote
from apex_ray.nodes.launch import Launcher
from apex_ray.nodes.learner_node import LearnerNode
from apex_ray.nodes.metrics_node import MetricsNode
from apex_ray.nodes.processes import Process, this_process
from apex_ray.nodes.weights_node import RemoteSource, WeightsNode, fetch
from apex_ray.report.tally import ActorReport
from apex_ray.sizes import Sizes
from apex_ray.types import Batch, Chunk, Counters, EnvSpec, EpisodeEnd, Weights

PONG = EnvSpec.of_frames("ALE/Pong-v5", (84, 84), "uint8", 4, 6, 4)
EPISODE_STEPS = 2_000  # of a game of Pong, about
PROBE_EVERY_S = 0.5  # of a process of simulated actors: for weights, to time it
ACTORS_OF_A_HOST = 128
VALUES = {"discounts": 0.97, "steps": 3, "ages": 3}  # of a transition whose neighbours are all of its episode


@dataclass(frozen=True)
class Pace:
    """How fast what does no work is."""

    steps_per_s: float  # of each environment of an actor
    updates_per_s: float
    tick_steps: int  # of an actor that pass at once


def ready_chunk(config: ApexConfig, spec: EnvSpec) -> Chunk:
    """Of the fields and the size of an actor's, its frames random bytes."""
    rng, envs, horizon = np.random.default_rng(0), config.actors.envs_per_actor, config.actors.chunk_transitions
    fields = {
        name: rng.integers(0, 255, (envs, field.length(horizon), *field.shape)).astype(field.dtype)
        if field.windowed
        else np.full((envs, horizon, *field.shape), VALUES.get(name, 0), field.dtype)
        for name, field in stored(build_agent(config, spec).fields).items()
    }
    return Chunk(fields, np.ones((envs, horizon), bool), rng.random((envs, horizon)) + 0.01)


class Playing:
    """Stands for experience/actor.py."""

    def __init__(self, index: int, config: ApexConfig, chunk: Chunk, weights: Any, pace: Pace) -> None:
        a, tick = config.actors, pace.tick_steps
        self._index, self._chunk, self._envs, self._tick = index, chunk, a.envs_per_actor, tick
        self._variables = VariableClient(RemoteSource(weights), a.weights_every_steps // tick, self._load)
        self._chunk_ticks, self._tick_s = a.chunk_transitions // tick, tick / pace.steps_per_s
        self._ticks = random.randrange(self._chunk_ticks)  # actors are at different places of their chunks
        self._due = time.monotonic()
        self._sequence, self._unended_steps = 0, 0
        self.steps, self.loaded = 0, 0

    @property
    def version(self) -> int:
        return self._variables.version

    def _load(self, weights: Weights) -> None:
        self.loaded += 1

    def start_step(self) -> Chunk | None:
        self._variables.step()
        self._ticks += 1
        if self._ticks % self._chunk_ticks:
            return None
        self._sequence += 1
        return replace(self._chunk, actor=self._index, sequence=self._sequence, version=self.version)

    def finish_step(self) -> None:
        now = time.monotonic()
        self._due = max(self._due + self._tick_s, now - self._tick_s)  # what was waited for is not made up for
        time.sleep(max(self._due - now, 0.0))
        self.steps += self._tick * self._envs
        self._unended_steps += self._tick * self._envs

    def ended_episodes(self) -> list[EpisodeEnd]:
        ended, self._unended_steps = divmod(self._unended_steps, EPISODE_STEPS)
        return [EpisodeEnd(0.0, EPISODE_STEPS, 0.1)] * ended


class SimulatedActor(ActorNode):
    def __init__(self, chunk: Chunk, pace: Pace, *given: Any) -> None:
        super().__init__(*given)
        self._chunk, self._pace = chunk, pace

    def _build(self, weights: Any, central: Any) -> list[Any]:
        self.playing = Playing(self._index, self._config, self._chunk, weights, self._pace)
        return [self.playing]


class Host:
    """A process with many of them; calls name the actor that they are for."""

    def __init__(self, config: ApexConfig, spec: EnvSpec, sizes: Sizes, pace: Pace) -> None:
        self._given, self._chunk, self._pace = (config, spec, sizes), ready_chunk(config, spec), pace
        self._actors: dict[int, SimulatedActor] = {}
        self._begun: dict[int, threading.Event] = defaultdict(threading.Event)
        self._asked_s: list[float] = []
        self._probe: threading.Thread | None = None

    def process(self, index: int) -> Process:
        return this_process()

    def begin(self, index: int, generation: int, shards: list[Any], weights: Any, *given: Any) -> None:
        self._actors[index] = SimulatedActor(self._chunk, self._pace, *self._given, index, generation)
        if self._probe is None:
            self._probe = threading.Thread(target=self._ask, args=(weights,), daemon=True)
            self._probe.start()
        try:
            self._actors[index].begin(shards, weights, *given)
        finally:
            self._begun[index].set()

    def run(self, index: int) -> None:
        self._begun[index].wait()  # in a process of its own an actor's calls are served in order
        self._actors[index].run()

    def _ask(self, weights: Any) -> None:
        """Time how long it takes to have the newest weights, as an actor of this node has them."""
        while True:
            time.sleep(PROBE_EVERY_S * 2 * random.random())
            asked = time.perf_counter()
            if fetch(ray.get(weights.latest.remote(-1))) is not None:
                self._asked_s.append(time.perf_counter() - asked)

    def figures(self) -> tuple[dict[int, tuple[int, int, float, int]], list[float]]:
        """By actor (steps, loads of weights, seconds waited for replay, chunks), and seconds to weights since asked."""
        asked_s, self._asked_s = self._asked_s, []
        return {
            i: (a.playing.steps, a.playing.loaded, a._window.waited_s, a.playing._sequence)
            for i, a in self._actors.items()
            if hasattr(a, "playing")
        }, asked_s


class Asking:
    """Asks the parts that everyone talks to for nothing much, now and then: how long an answer takes is their queue."""

    def __init__(self, weights: Any, metrics: Any, shard: Any) -> None:
        """`shard`: the one that keeps the limit."""
        self._ask: dict[str, Callable[[], ObjectRef[Any]]] = {
            "weights": lambda: weights.latest.remote(sys.maxsize),
            "metrics": lambda: metrics.dismiss.remote([]),
            "limit": lambda: shard.permit.remote(-1, 0.0),
            "replay-0": lambda: shard.stats.remote(),  # for which it needs its lock
        }
        self._took_s = defaultdict[str, list[float]](list)
        threading.Thread(target=self._go_on, daemon=True).start()

    def _go_on(self) -> None:
        while True:
            for name, ask in self._ask.items():
                time.sleep(PROBE_EVERY_S / 2 * random.random())
                asked = time.perf_counter()
                ray.get(ask())
                self._took_s[name].append(time.perf_counter() - asked)

    def took_s(self) -> dict[str, list[float]]:
        """By part, the seconds that answers took since this was asked last."""
        took_s, self._took_s = self._took_s, defaultdict[str, list[float]](list)
        return dict(took_s)


class _Call:
    def __init__(self, make: Callable[..., Any]) -> None:
        self.remote = make


class Seat:
    """What the driver has for the handle of an actor."""

    def __init__(self, host: Any, index: int, generation: int) -> None:
        self.process = _Call(partial(host.process.remote, index))
        self.begin = _Call(partial(host.begin.remote, index, generation))
        self.run = _Call(partial(host.run.remote, index))


class Paced:
    """Stands for learner/learner.py."""

    def __init__(self, agent: Any, params: dict[str, Any], updates_per_s: float) -> None:
        self.agent, self._params, self._every_s = agent, params, 1 / updates_per_s
        self.updates, self._due, self._size = 0, time.monotonic(), 0
        self._rng = np.random.default_rng(0)

    def to_device(self, batch: Batch) -> dict[str, Any]:
        self._size = len(batch.slots)
        return {}

    def start_update(self, tensors: dict[str, Any]) -> None:
        now = time.monotonic()
        self._due = max(self._due + self._every_s, now - self._every_s)
        time.sleep(max(self._due - now, 0.0))

    def finish_update(self) -> tuple[Any, dict[str, float]]:
        self.updates += 1
        return self._rng.random(self._size), {"loss": 0.0}

    def prepare_memory(self, memory: Any) -> None: ...

    def weights(self) -> Weights:
        return Weights(self.updates, self._params)


class StandIn(LearnerNode):
    """The learner's process with one that takes batches at a set rate; its weights are those for frames of 84 x 84."""

    def __init__(self, updates_per_s: float, *given: Any) -> None:
        super().__init__(*given)
        self._updates_per_s = updates_per_s

    def prepare(self, resume: bool, warm: Any = None) -> Counters:
        from apex_ray.agent.network import new_network, to_arrays

        params = to_arrays(new_network(build_agent(self._config, PONG), self._config.seed))
        self._learner = cast(Any, Paced(build_agent(self._config, self._spec), params, self._updates_per_s))
        self._prepared.set()
        return Counters()


class CountedWeights(WeightsNode):
    def __init__(self) -> None:
        super().__init__()
        self._calls = 0

    def latest(self, newer_than: int) -> Any:
        self._calls += 1
        return super().latest(newer_than)

    @ray.method(concurrency_group="name")
    def calls(self) -> int:
        return self._calls


class CountedMetrics(MetricsNode):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._calls = 0

    @ray.method(max_task_retries=0)
    def actor(self, report: ActorReport) -> bool:
        self._calls += 1
        return self._take(report)

    @ray.method(max_task_retries=0)
    def relayed(self, relay: str, reports: list[ActorReport]) -> list[bool]:
        self._calls += 1
        self._reported_at[relay] = time.monotonic()
        return [self._take(report) for report in reports]

    @ray.method(concurrency_group="name")
    def calls(self) -> int:
        return self._calls


class LoadLauncher(Launcher):
    """Starts what is real as it is, and for actors and learner what stands for them."""

    def __init__(self, pace: Pace, nodes: list[str], *given: Any) -> None:
        """`nodes`: the ids of those that have actors, each as many."""
        super().__init__(*given)
        self._pace, self._on = pace, nodes
        self.hosts: dict[tuple[str, int], Any] = {}

    def _start(self, kind: type[Any], name: str, *given: Any, **options: Any) -> Any:
        kind = {WeightsNode: CountedWeights, MetricsNode: CountedMetrics}.get(kind, kind)
        if kind is LearnerNode:
            kind, given = StandIn, (self._pace.updates_per_s, *given)
        return super()._start(kind, name, *given, **options)

    def actor(self, index: int, generation: int) -> Any:
        node, nth = self._on[index % len(self._on)], index // len(self._on) // ACTORS_OF_A_HOST
        if (node, nth) not in self.hosts:
            place = NodeAffinitySchedulingStrategy(node, soft=False)
            kind = remote(num_cpus=0, scheduling_strategy=place, max_concurrency=2 * ACTORS_OF_A_HOST + 8)(Host)
            self.hosts[node, nth] = kind.remote(self._config, self._spec, self._site.sizes, self._pace)
        return Seat(self.hosts[node, nth], index, generation)
