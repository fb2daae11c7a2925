"""The system's picture as code: starts every node, tells each whom it talks to, and watches until it is time to stop.

Who waits for whom, and the bound of every queue: docs/DESIGN.md.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import ObjectRef

from apex_ray import demand
from apex_ray.agent.build import build_agent
from apex_ray.agent.exploration import epsilon_ladder
from apex_ray.config.schema import ApexConfig
from apex_ray.learner.checkpoint import Counters
from apex_ray.nodes import learner_node, replay_node
from apex_ray.nodes.actor_node import ActorNode
from apex_ray.nodes.connection import Placement
from apex_ray.nodes.evaluator_node import EvaluatorNode
from apex_ray.nodes.fleet import Fleet
from apex_ray.nodes.flow import LatestCall, remote
from apex_ray.nodes.inference_node import InferenceNode
from apex_ray.nodes.learner_node import LearnerNode
from apex_ray.nodes.metrics_node import MetricsNode
from apex_ray.nodes.replay_node import ReplayNode
from apex_ray.nodes.stall import LEARNER, StallWatch, unanswered
from apex_ray.nodes.supervise import Supervisor, Watched, as_user_error, root_cause
from apex_ray.nodes.weights_node import WeightsNode, fetch
from apex_ray.replay.saving import replay_file, replay_files
from apex_ray.site import Site
from apex_ray.types import AnyArray, EnvSpec, EvaluationResult, Weights
from trainkit.errors import UserError

SAID_EVERY_S = 1.0
NO_RESTART: dict[str, Any] = {"max_restarts": 0, "max_task_retries": 0}


@dataclass
class Nodes:
    """Handles of everything but the actors, which come and go."""

    shards: list[Any]
    weights: Any
    metrics: Any
    learner: Any
    evaluator: Any


class Program:
    """A running system. `start`, then `watch` and `row` until done, then `save` and leave."""

    def __init__(
        self, config: ApexConfig, spec: EnvSpec, site: Site, run: Path, on_event: Callable[[str], None]
    ) -> None:
        self._config, self._spec, self._site, self._run = config, spec, site, run
        self._sizes = site.sizes
        self._fleet = Fleet(site.sizes.min_actors, config.cluster.shortage_s, site.here, on_event)
        self._export = LatestCall()
        self._supervisor = Supervisor(run, config.cluster.max_restarts, on_event)
        self._on_event = on_event
        self._evaluation = LatestCall()
        self._said, self._asked_at = LatestCall(), 0.0
        self._incarnations = self._saved_update = 0
        self.counters = Counters()

    def start(self, resume: bool, warm: Mapping[str, AnyArray] | None = None) -> None:
        """Start every node and its loop; the network begins with the parameters `warm`, unless the run is resumed.

        UserError when a node can't be built.
        """
        config, spec, sizes = self._config, self._spec, self._sizes
        self._placement = Placement(self._site.bundles, self._site.namespace, self._site.group)
        learner = remote(
            name="learner",
            num_cpus=self._site.bundles[demand.LEARNER].cpus,
            num_gpus=self._gpu_share,
            concurrency_groups=learner_node.GROUPS,
            **self._beside_learner,
        )(LearnerNode)
        light = {"num_cpus": 0, **self._beside_learner}
        know = self._supervisor.know
        learning = know(LEARNER, learner.remote(config, spec, sizes, self._run))
        try:
            self.counters = c = ray.get(learning.prepare.remote(resume, warm))
        except ray.exceptions.RayTaskError as error:
            raise as_user_error(LEARNER, error, self._run) from None
        self._stall = StallWatch(config.cluster.stall_s, self._run, c.frames)
        ladder = epsilon_ladder(
            sizes.actors * config.actors.envs_per_actor, config.actors.epsilon_base, config.actors.epsilon_alpha
        )
        progress = {"time_s": c.time_s, "frames": c.frames, "updates": c.updates, "episodes": c.episodes}
        self._nodes = nodes = Nodes(
            shards=self._start_shards(),
            weights=know("the weights node", remote(name="weights", **light)(WeightsNode).remote()),
            metrics=know(
                "the metrics node",
                remote(name="metrics", **light)(MetricsNode).remote(
                    ladder, spec.frame_skip, progress, self._run.name, spec.reporter
                ),
            ),
            learner=learning,
            evaluator=self._start_evaluator(),
        )
        if resume:
            self._load_replay()
        self._inference = self._start_inference() if config.actors.inference == "central" else None
        call = nodes.learner.run.remote(nodes.shards, nodes.weights, nodes.metrics)
        self._supervisor.watch(call, Watched(LEARNER, None))
        for index in range(sizes.actors):
            watched = Watched(
                f"actor {index}", partial(self._replace_actor, index), partial(self._fleet.lost_node, index)
            )
            self._supervisor.watch(self._start_actor(index), watched)

    @property
    def _beside_learner(self) -> dict[str, Any]:
        """Options of what runs on the learner's node."""
        return {"scheduling_strategy": self._placement.of(demand.LEARNER), **self._in_place}

    @property
    def _in_place(self) -> dict[str, Any]:
        """Options of what Ray is not to start anew."""
        return {"namespace": self._site.namespace, **NO_RESTART}

    def _start_shards(self) -> list[Any]:
        """All shards; the first counts inserts and samples for all of them."""
        count, shards = self._config.replay.shards, list[Any]()
        fields = build_agent(self._config, self._spec).fields
        for shard in range(count):
            bundle = (demand.REPLAY, shard - 1) if shard else (demand.LEARNER, 0)
            replay = remote(
                name=f"replay-{shard}",
                num_cpus=0,
                concurrency_groups=replay_node.concurrency_groups(count),
                scheduling_strategy=self._placement.of(*bundle),
                **self._in_place,
            )(ReplayNode)
            node = replay.remote(self._config, fields, self._sizes, shard, shards[0] if shards else None)
            shards.append(self._supervisor.know(f"replay-{shard}", node))
        return shards

    def _start_evaluator(self) -> Any:
        evaluator = remote(num_cpus=0, **self._beside_learner)(EvaluatorNode)
        handle = evaluator.options(name=f"evaluator{self._suffix}")
        return handle.remote(self._config, self._spec, self._run)

    @property
    def _suffix(self) -> str:
        """Sets a replaced process's name apart from the one before it."""
        return f"-r{self._supervisor.restarts}" if self._supervisor.restarts else ""

    @property
    def _gpu_share(self) -> float:
        """The learner's part of a GPU: central inference has the other half where there is only one."""
        shared = self._config.actors.inference == "central" and self._config.actors.inference_device != "cpu"
        if not self._site.bundles[demand.LEARNER].gpus:
            return 0.0
        return 0.5 if shared and not self._site.bundles[demand.INFERENCE].gpus else 1.0

    def _start_inference(self) -> Any:
        # It holds nothing but weights: Ray may start it anew by itself and repeat what was asked of it.
        # On the learner's GPU it takes the other half of that bundle, and its CPUs wherever there are some.
        half, bundle = self._gpu_share == 0.5, self._site.bundles[demand.INFERENCE]
        inference = remote(
            name="inference",
            namespace=self._site.namespace,
            num_cpus=0 if half else bundle.cpus,
            num_gpus=0.5 if half else bundle.gpus,
            scheduling_strategy=self._placement.of(demand.LEARNER if half else demand.INFERENCE),
            max_concurrency=2 * self._sizes.actors * self._config.actors.groups,
            max_restarts=self._config.cluster.max_restarts,
            max_task_retries=-1,
        )(InferenceNode)
        node = inference.remote(self._config, self._spec, self._nodes.weights, self._sizes.inference_cpus)
        return self._supervisor.know("the inference node", node)

    def _start_actor(self, index: int) -> ObjectRef[Any]:
        nodes = self._nodes
        restarts = self._incarnations if index in self._fleet else 0
        actor = remote(
            name=f"actor-{index}{f'-r{restarts}' if restarts else ''}",
            num_cpus=self._site.bundles[demand.ACTOR].cpus,
            **self._placement.of_actor(index),
            **self._in_place,
        )(ActorNode)
        handle = actor.remote(self._config, self._spec, self._sizes, index, self.counters.generation, restarts)
        self._incarnations += 1
        self._fleet.add(index, handle, handle.where.remote())
        call: ObjectRef[Any] = handle.run.remote(nodes.shards, nodes.weights, nodes.metrics, self._inference)
        return call

    def _replace_actor(self, index: int) -> ObjectRef[Any]:
        self._fleet.forget(index)
        return self._start_actor(index)

    def watch(self, timeout_s: float) -> bool:
        """Wait that long for something to go wrong. UserError when the run can't go on. The row tells of limits."""
        self._supervisor.check(timeout_s)
        self._fleet.check()
        self._tell()
        return False

    def _tell(self) -> None:
        """Pass on what actors and evaluator say, asked for at most once a second."""
        with self._as_user_error():
            said = self._said.poll() or ()
        for text in said:
            self._on_event(text)
        if not self._said.busy and time.monotonic() - self._asked_at >= SAID_EVERY_S:
            self._asked_at = time.monotonic()
            self._said.start(self._nodes.metrics.said.remote())

    def row(self) -> dict[str, float]:
        """All metrics now."""
        nodes = self._nodes
        shards = {f"replay-{i}": shard.stats.remote() for i, shard in enumerate(nodes.shards)}
        row: dict[str, float]
        (row, silent_s), *stats = self._get({"metrics": nodes.metrics.row.remote(), **shards})
        if self._fleet.running:
            self._stall.check(row, stats, {name: math.inf for name in self._fleet.names} | silent_s)
        row |= replay_node.totals(stats, self._config.replay.min_transitions) | {
            "replay_bytes": self._sizes.replay_bytes,
            "actors_alive": self._fleet.running,
            "restarts": self._supervisor.restarts,
        }
        return row

    def episode_rows(self) -> list[Any]:
        """The totals of the environment's own reporter so far."""
        rows: list[Any] = self._get({"metrics": self._nodes.metrics.episode_rows.remote()})[0]
        return rows

    def publish(self, row: Mapping[str, float]) -> None:
        """Show the row to Prometheus; one that comes while the last is under way is left out."""
        with self._as_user_error():
            self._export.poll()
        if not self._export.busy:
            self._export.start(self._nodes.metrics.export.remote(dict(row)))

    def start_evaluation(self, counters: Counters, interrupted: Callable[[], bool]) -> None:
        """Ask for an evaluation of the newest weights unless one is under way. Who waits for it looks for Ctrl-C."""
        nodes = self._nodes
        if not self._evaluation.busy:
            self._evaluation.start(nodes.evaluator.evaluate.remote(nodes.weights, nodes.metrics, counters))

    def poll_evaluation(self) -> EvaluationResult | None:
        """The result, once, when it is there. UserError when playing failed."""
        self._tell()
        try:
            result: EvaluationResult | None = self._evaluation.poll()
        except ray.exceptions.RayActorError as error:
            self._supervisor.spend_restart("the evaluator", error)
            self._nodes.evaluator = self._start_evaluator()
            return None
        except ray.exceptions.RayError as error:
            raise as_user_error("the evaluator", error, self._run) from None
        return result

    @property
    def evaluating(self) -> bool:
        return self._evaluation.busy

    def weights(self) -> Weights:
        """The newest that the learner has published; the first are there before it learns."""
        while True:
            [reference] = self._get({"the weights node": self._nodes.weights.latest.remote(-1)})
            if reference is not None:
                with self._as_user_error():
                    newest = fetch(reference)
                assert newest is not None
                return newest
            self._supervisor.check(timeout_s=0.1)

    def stop_actors(self) -> None:
        """End the actors, so that what follows has the machine for itself."""
        self._fleet.kill()

    def save(self, counters: Counters) -> tuple[Path, int]:
        """Write a checkpoint between two updates: (folder, updates)."""
        [(path, self._saved_update)] = self._get({LEARNER: self._nodes.learner.save.remote(counters)})
        return path, self._saved_update

    def save_replay(self) -> None:
        """Write every shard into the run folder, as belonging to the last checkpoint."""
        files = [replay_file(self._run, i) for i in range(len(self._nodes.shards))]
        with self._as_user_error():
            ray.get([s.save.remote(f, self._saved_update) for s, f in zip(self._nodes.shards, files, strict=True)])

    def _load_replay(self) -> None:
        files = replay_files(self._run, len(self._nodes.shards), self.counters.updates, self._on_event)
        with self._as_user_error():
            ray.get([s.load.remote(f) for s, f in zip(self._nodes.shards, files, strict=False)])

    def _get(self, calls: Mapping[str, ObjectRef[Any]]) -> list[Any]:
        """Results of calls to nodes, by name. UserError when one fails, or does not answer for `cluster.stall_s`."""
        limit_s = self._config.cluster.stall_s
        _, late = ray.wait(list(calls.values()), num_returns=len(calls), timeout=limit_s)
        if late:
            raise unanswered([name for name, call in calls.items() if call in late], limit_s, self._run)
        with self._as_user_error():
            results: list[Any] = ray.get(list(calls.values()))
            return results

    @contextmanager
    def _as_user_error(self) -> Iterator[None]:
        """A node's failure inside becomes one UserError, the supervisor's own when it knows the reason."""
        try:
            yield
        except ray.exceptions.RayError as error:
            if not isinstance(root_cause(error), UserError):  # which says it all: no other node's end is its reason
                self._supervisor.check(timeout_s=5.0)
            if isinstance(root_cause(error), ray.exceptions.RayActorError):
                raise self._supervisor.lost("a node", error) from None
            raise as_user_error("a node", error, self._run) from None
