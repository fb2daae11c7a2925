"""An actor as a Ray actor: its loop, with chunks going straight to the replay shards."""

from __future__ import annotations

import time
from typing import Any

from apex_ray.config.schema import ApexConfig
from apex_ray.nodes.flow import CallWindow, LatestCall
from apex_ray.nodes.weights_node import RemoteSource
from apex_ray.parts import Sizes, build_actor
from apex_ray.process import prepare_process
from apex_ray.report.tally import ActorReport
from apex_ray.types import EnvSpec

REPORT_EVERY_S = 1.0


class ActorNode:
    def __init__(self, config: ApexConfig, spec: EnvSpec, sizes: Sizes, index: int, generation: int) -> None:
        self._config, self._spec, self._sizes = config, spec, sizes
        self._index, self._generation = index, generation

    def run(self, shards: list[Any], weights: Any, metrics: Any) -> None:
        """Act until killed. Raises whatever the environment or a shard raised."""
        prepare_process(self._sizes.actor_threads)
        actor = build_actor(
            self._config, self._spec, self._index, self._sizes.actors, RemoteSource(weights), self._generation
        )
        window = CallWindow(self._config.actors.chunks_in_flight)
        report, reported_s, reported_steps, waited_s = LatestCall(), time.monotonic(), 0, 0.0
        while True:
            chunk = actor.start_step()
            if chunk is not None:
                window.reserve()
                # Shards take turns; the chunk is serialised by this call, so the window's arrays are free after it.
                window.add(shards[(self._index + chunk.sequence) % len(shards)].add.remote(chunk))
            actor.finish_step()
            now = time.monotonic()
            if now - reported_s < REPORT_EVERY_S:
                continue
            report.poll()
            if report.busy:
                continue  # metrics lag behind: episodes wait here and nothing queues up there
            report.start(
                metrics.actor.remote(
                    ActorReport(
                        self._index,
                        actor.steps - reported_steps,
                        actor.version,
                        window.waited_s - waited_s,
                        now - reported_s,
                        actor.ended_episodes(),
                    )
                )
            )
            reported_s, reported_steps, waited_s = now, actor.steps, window.waited_s
