"""An actor as a Ray actor: its loop, with chunks going straight to the replay shards."""

from __future__ import annotations

import time
from typing import Any

import ray

from apex_ray.agent.build import build_agent
from apex_ray.config.schema import ApexConfig
from apex_ray.envs import watchdog
from apex_ray.envs.own_code import unpack
from apex_ray.experience.actor import Actor
from apex_ray.nodes.flow import ONCE, CallWindow, LatestCall
from apex_ray.nodes.inference_node import CentralInference
from apex_ray.nodes.lost import ending_with_its_processes
from apex_ray.nodes.weights_node import RemoteSource
from apex_ray.parts import build_actors, local_inference
from apex_ray.process import prepare_process
from apex_ray.report.tally import ActorReport
from apex_ray.sizes import Sizes
from apex_ray.types import EnvSpec

REPORT_EVERY_S = 1.0


class ActorNode:
    def __init__(
        self, config: ApexConfig, spec: EnvSpec, sizes: Sizes, index: int, generation: int, restarts: int = 0
    ) -> None:
        self._config, self._spec, self._sizes = config, spec, sizes
        self._index, self._generation, self._restarts = index, generation, restarts

    def where(self) -> str:
        """The id of the node that this process runs on."""
        return str(ray.get_runtime_context().get_node_id())

    def run(self, shards: list[Any], weights: Any, metrics: Any, central: Any = None) -> None:
        """Act until killed. Raises whatever the environment, a shard or `central`, the inference node, raised."""
        with ending_with_its_processes():
            self._run(shards, weights, metrics, central)

    def _run(self, shards: list[Any], weights: Any, metrics: Any, central: Any) -> None:
        settings = self._config.actors
        prepare_process(settings.threads)
        watchdog.say_with(lambda text: metrics.say.remote(f"actor {self._index}: {text}"))
        unpack(self._spec.env_id, self._spec.own_code)
        agent = build_agent(self._config, self._spec)
        if central is None:
            inference = local_inference(self._config, agent, RemoteSource(weights))
        else:
            remote = CentralInference(central)
            inference = remote, remote
        actors = build_actors(
            self._config,
            self._spec,
            agent,
            self._index,
            self._sizes.actors,
            inference,
            self._generation,
            self._restarts,
        )
        window = CallWindow(settings.chunks_in_flight * settings.groups)

        def start_step(actor: Actor) -> None:
            chunk = actor.start_step()
            if chunk is not None:
                window.reserve()
                # Shards take turns; the chunk is serialised by this call, so the window's arrays are free after it.
                window.add(shards[(chunk.actor + chunk.sequence) % len(shards)].add.remote(chunk))

        report, reported_s, reported_steps, waited_s = LatestCall(may_be_lost=True), time.monotonic(), 0, 0.0
        for actor in actors:
            start_step(actor)
        while True:
            for actor in actors:  # the other groups' environments go on emulating meanwhile
                actor.finish_step()
                start_step(actor)
            now = time.monotonic()
            if now - reported_s < REPORT_EVERY_S:
                continue
            report.poll()
            if report.busy:
                continue  # metrics lag behind: episodes wait here and nothing queues up there
            steps = sum(actor.steps for actor in actors)
            report.start(
                metrics.actor.options(**ONCE).remote(
                    ActorReport(
                        self._index,
                        steps - reported_steps,
                        actors[0].version,
                        window.waited_s - waited_s,
                        now - reported_s,
                        [episode for actor in actors for episode in actor.ended_episodes()],
                    )
                )
            )
            reported_s, reported_steps, waited_s = now, steps, window.waited_s
