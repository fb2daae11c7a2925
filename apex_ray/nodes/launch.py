"""Starts every node of a run: on which machine, with how much of it, and what becomes of it when its process ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from apex_ray import demand
from apex_ray.agent.build import build_agent
from apex_ray.agent.exploration import epsilons_of
from apex_ray.config.schema import ApexConfig
from apex_ray.nodes import learner_node, replay_node
from apex_ray.nodes.actor_node import ActorNode
from apex_ray.nodes.connection import Placement
from apex_ray.nodes.evaluator_node import EvaluatorNode
from apex_ray.nodes.flow import remote
from apex_ray.nodes.inference_node import InferenceNode
from apex_ray.nodes.learner_node import LearnerNode
from apex_ray.nodes.living import GROUP, RESTARTED_IN_PLACE, LivingAsync
from apex_ray.nodes.metrics_node import MetricsNode
from apex_ray.nodes.relay_node import RelayNode
from apex_ray.nodes.replay_node import ReplayNode
from apex_ray.nodes.stall import INFERENCE
from apex_ray.nodes.weights_node import WeightsNode
from apex_ray.nodes.worker_node import WorkerNode
from apex_ray.run_files import RunPlace
from apex_ray.site import Site
from apex_ray.types import EnvSpec
from cluster.resources import snapshot

CALLS = 3  # of an actor to its relay, at once, at most: for weights, with a report, with a line for the user
GPU_SHARED = 0.5  # of the learner's GPU that inference has where there is no other one


@dataclass
class Nodes:
    """Handles of all but actors and their nodes' helpers, which come and go. A process behind one may be new."""

    shards: list[Any]
    weights: Any
    metrics: Any
    learner: Any
    evaluator: Any
    inference: Any  # None where there is no such process for all actors


class Launcher:
    """Each method asks Ray for a process and gives its handle at once.

    What a constructor is given Ray keeps for a restart only while it is small (100 KB) and holds no handle: other
    nodes are named.
    """

    def __init__(self, config: ApexConfig, spec: EnvSpec, site: Site, place: RunPlace) -> None:
        self._config, self._spec, self._site, self._place = config, spec, site, place
        self._placement = Placement(site.bundles, site.namespace, site.group)
        self._incarnations: dict[int, int] = {}  # actors started, by index

    def _start(self, kind: type[Any], name: str, *given: Any, **options: Any) -> Any:
        """A node that Ray starts anew in its place; without other options beside the learner, using no CPU."""
        defaults = {
            "num_cpus": 0,
            "scheduling_strategy": self._placement.of(demand.LEARNER),
            "namespace": self._site.namespace,
            **({} if issubclass(kind, LivingAsync) else {"concurrency_groups": GROUP}),
        }
        return remote(name=name, **{**defaults, **RESTARTED_IN_PLACE, **options})(kind).remote(*given)

    def _named(self, name: str) -> Callable[[], Any]:
        return partial(ray.get_actor, name, self._site.namespace)

    def nodes(self) -> set[str]:
        """The ids of the nodes that everything but the actors is on."""
        return self._placement.nodes()

    def home(self) -> str | None:
        """The id of the node that learner, weights and metrics are on."""
        return self._placement.node(demand.LEARNER)

    def learner(self) -> Any:
        given = self._config, self._spec, self._site.sizes, self._place, self._named("metrics")
        cpus, groups = self._site.bundles[demand.LEARNER].cpus, learner_node.GROUPS
        return self._start(
            LearnerNode, "learner", *given, num_cpus=cpus, num_gpus=self._gpu_share, concurrency_groups=groups
        )

    def workers(self) -> list[Any]:
        """The learner's, but for the first, which is the learner itself."""
        given, started = (self._config, self._spec, self._site.sizes), list[Any]()
        for i in range(self._config.learner.workers - 1):
            bundle, place = self._site.bundles[demand.WORKER], self._placement.of(demand.WORKER, i)
            options = {"num_cpus": bundle.cpus, "num_gpus": bundle.gpus, "scheduling_strategy": place}
            started.append(self._start(WorkerNode, f"learner-{1 + i}", *given, **options))
        return started

    def shards(self) -> list[Any]:
        """All of them; the first counts inserts and samples for all."""
        count, shards = self._config.replay.shards, list[Any]()
        fields = build_agent(self._config, self._spec).fields
        for shard in range(count):
            bundle = (demand.REPLAY, shard - 1) if shard else (demand.LEARNER, 0)
            counts, metrics = self._named("replay-0") if shards else None, self._named("metrics")
            given = self._config, fields, self._site.sizes, shard, counts, self._place, metrics
            workers, ahead = self._config.learner.workers, self._config.learner.prefetch_batches
            groups = replay_node.concurrency_groups(count, 1 if workers == 1 else workers * ahead)
            place = self._placement.of(*bundle)
            shards.append(
                self._start(ReplayNode, f"replay-{shard}", *given, concurrency_groups=groups, scheduling_strategy=place)
            )
        return shards

    def weights(self) -> Any:
        return self._start(WeightsNode, "weights")

    def metrics(self) -> Any:
        epsilons = epsilons_of(self._config.actors, self._site.sizes.actors)
        return self._start(
            MetricsNode, "metrics", epsilons, self._spec.frame_skip, self._place.folder.name, self._spec.reporter
        )

    def evaluator(self) -> Any:
        given = self._config, self._spec, self._place, self._named("metrics")
        return self._start(EvaluatorNode, "evaluator", *given)

    def inference(self) -> Any:
        """For all actors."""
        if self._shares_gpu:
            return self._infers("inference", INFERENCE, **self._beside_learner)
        bundle, place = self._site.bundles[demand.INFERENCE], self._placement.of(demand.INFERENCE)
        options = {"num_cpus": bundle.cpus, "num_gpus": bundle.gpus, "scheduling_strategy": place}
        return self._infers("inference", INFERENCE, **options)

    def inference_of(self, number: int, name: str, node: str) -> Any:
        """The one of that number, for the actors on the node of that id. It has the node's GPU where one is free, and
        takes no CPU, which Ray might have given to actors already: these wait while it works. `name`: as of a relay.
        """
        gpus = self._free_gpu(node)
        if not gpus and self._shares_gpu and node == self.home():
            return self._infers(f"inference-{number}", name, **self._beside_learner)
        place = NodeAffinitySchedulingStrategy(node, soft=False)
        return self._infers(f"inference-{number}", name, num_gpus=gpus, scheduling_strategy=place)

    def _infers(self, called: str, name: str, **options: Any) -> Any:
        """Ray knows it as `called`, metrics are told its `name`."""
        sizes, weights, metrics = self._site.sizes, self._named("weights"), self._named("metrics")
        given = self._config, self._spec, weights, sizes.inference_cpus, name, metrics
        calls = 2 * sizes.actors * self._config.actors.groups + sum(GROUP.values())
        return self._start(InferenceNode, called, *given, max_concurrency=calls, **options)

    def _free_gpu(self, node: str) -> float:
        """1 where inference is to have a GPU and that node has one that nobody holds. A trial keeps to its own."""
        if self._config.actors.inference_device == "cpu" or self._site.group is not None:
            return 0.0
        return float(any(found.id == node and found.free.get("GPU", 0.0) >= 1 for found in snapshot()))

    @property
    def _beside_learner(self) -> dict[str, Any]:
        """On the learner's GPU inference takes the other half of that bundle, and its CPUs wherever there are some."""
        return {"num_gpus": GPU_SHARED, "scheduling_strategy": self._placement.of(demand.LEARNER)}

    @property
    def _shares_gpu(self) -> bool:
        """Whether inference on the learner's node has a part of its GPU."""
        a, bundles = self._config.actors, self._site.bundles
        own = demand.INFERENCE in bundles and bundles[demand.INFERENCE].gpus
        asked = a.inference != "local" and a.inference_device != "cpu"
        return bool(asked and bundles[demand.LEARNER].gpus and not own)

    @property
    def _gpu_share(self) -> float:
        """The learner's part of its GPU."""
        if not self._site.bundles[demand.LEARNER].gpus:
            return 0.0
        return 1.0 - GPU_SHARED if self._shares_gpu else 1.0

    def relay(self, number: int, name: str, node: str) -> Any:
        """The one of that number, on the node of that id and nowhere else; metrics are told its `name`."""
        return self._start(
            RelayNode,
            f"relay-{number}",
            name,
            self._named("weights"),
            self._named("metrics"),
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            max_concurrency=CALLS * self._site.sizes.actors + sum(GROUP.values()),
        )

    def actors_of(self, cpus: float) -> int:
        """How many actors have room on a node with so many CPUs."""
        return int(cpus // self._site.bundles[demand.ACTOR].cpus)

    def actor(self, index: int, generation: int) -> Any:
        """A new process for actor `index`, wherever there is room; Ray does not start it anew."""
        restarts = self._incarnations.get(index, 0)
        self._incarnations[index] = restarts + 1
        kind = remote(
            name=f"actor-{index}{f'-r{restarts}' if restarts else ''}",
            namespace=self._site.namespace,
            num_cpus=self._site.bundles[demand.ACTOR].cpus,
            **self._placement.of_actor(index),
            max_restarts=0,
            max_task_retries=0,
        )(ActorNode)
        return kind.remote(self._config, self._spec, self._site.sizes, index, generation, restarts)
