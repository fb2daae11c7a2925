"""An actor as a Ray actor: its loop, with chunks going straight to the replay shards."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray import ObjectRef

from apex_ray.agent.build import build_agent
from apex_ray.config.schema import ApexConfig
from apex_ray.envs import watchdog
from apex_ray.envs.own_code import unpack
from apex_ray.experience.actor import Actor
from apex_ray.nodes.central_inference import CentralInference
from apex_ray.nodes.flow import CallWindow, LatestCall
from apex_ray.nodes.lost import ending_with_its_processes
from apex_ray.nodes.processes import Process, this_process
from apex_ray.nodes.weights_node import RemoteSource
from apex_ray.parts import build_actors, local_inference
from apex_ray.process import keep_freed_memory, prepare_process
from apex_ray.report.tally import NUMBERS, ActorReport
from apex_ray.sizes import Sizes
from apex_ray.talk import REPORT_EVERY_S
from apex_ray.types import EnvSpec


class ActorNode:
    """`begin`, then `run`, in one thread, the process's main one: environments may insist on it."""

    def __init__(
        self, config: ApexConfig, spec: EnvSpec, sizes: Sizes, index: int, generation: int, restarts: int = 0
    ) -> None:
        self._config, self._spec, self._sizes = config, spec, sizes
        self._index, self._generation, self._restarts = index, generation, restarts
        self._failed: Exception | None = None

    def process(self) -> Process:
        """Which process this is."""
        return this_process()

    def begin(self, shards: list[Any], weights: Any, metrics: Any, central: Any = None) -> None:
        """Make the environments and act until a first chunk is on its way. What it raises, `run` raises again.

        The relay of this node may stand for both `weights` and `metrics`.
        """
        self._shards, self._metrics = shards, metrics
        self._window = CallWindow(self._config.actors.chunks_in_flight * self._config.actors.groups)
        try:
            with ending_with_its_processes(self._say):
                self._actors = self._build(weights, central)
                self._reporter = Reporter(self._index, metrics, self._window, self._restarts * NUMBERS)
                for actor in self._actors:
                    self._start_step(actor)
                while not self._window.calls:
                    self._step()
        except Exception as error:
            self._failed = error
            raise

    def run(self) -> None:
        """Act until killed, or dismissed: then until every chunk is stored. Raises whatever the environment, a shard or
        the inference node raised.
        """
        if self._failed is not None:
            raise self._failed
        with ending_with_its_processes(self._say):
            while not self._reporter.dismissed:
                self._step()
                self._reporter.maybe(self._actors)
        self._window.wait()
        ray.get(self._reporter.report(self._actors))

    def _say(self, text: str) -> Any:
        return self._metrics.say.remote(f"actor {self._index}: {text}")

    def _build(self, weights: Any, central: Any) -> list[Actor]:
        watchdog.say_with(self._say)
        unpack(self._spec.env_id, self._spec.own_code)
        agent = build_agent(self._config, self._spec)
        if central is None:
            prepare_process(self._config.actors.threads)
            inference = local_inference(self._config, agent, RemoteSource(weights), self._index)
        else:
            keep_freed_memory()
            remote = CentralInference(central)
            inference = remote, remote
        return build_actors(
            self._config,
            self._spec,
            agent,
            self._index,
            self._sizes.actors,
            inference,
            self._generation,
            self._restarts,
        )

    def _step(self) -> None:
        for actor in self._actors:  # the other groups' environments go on emulating meanwhile
            actor.finish_step()
            self._start_step(actor)

    def _start_step(self, actor: Actor) -> None:
        chunk = actor.start_step()
        if chunk is not None:
            self._window.reserve()
            # Shards take turns; the chunk is serialised by this call, so the window's arrays are free after it.
            shard = self._shards[(chunk.actor + chunk.sequence) % len(self._shards)]
            self._window.add(shard.add.remote(chunk))


class Reporter:
    """Reports about once a second, one report in flight, and hears from the answer whether the actor is to leave."""

    def __init__(self, index: int, metrics: Any, window: CallWindow, first: int) -> None:
        """`first`: the number of the first report."""
        self._index, self._metrics, self._window, self._number = index, metrics, window, first
        self._call = LatestCall(may_be_lost=True)
        self._at, self._steps, self._waited_s = time.monotonic(), 0, 0.0
        self.dismissed = False

    def maybe(self, actors: list[Actor]) -> None:
        if time.monotonic() - self._at < REPORT_EVERY_S:
            return
        self.dismissed = bool(self._call.poll())
        if not self._call.busy:  # else metrics lag behind: episodes wait here and nothing queues up there
            self._call.start(self.report(actors))

    def report(self, actors: list[Actor]) -> ObjectRef[Any]:
        """The call that tells what was done since the last report."""
        now = time.monotonic()
        steps, waited_s = sum(actor.steps for actor in actors), self._window.waited_s
        report = ActorReport(
            self._index,
            steps - self._steps,
            actors[0].version,
            waited_s - self._waited_s,
            now - self._at,
            [episode for actor in actors for episode in actor.ended_episodes()],
            self._number,
        )
        self._at, self._steps, self._waited_s, self._number = now, steps, waited_s, self._number + 1
        call: ObjectRef[Any] = self._metrics.actor.remote(report)
        return call
