"""A run's actors and what their nodes have for them: asked of Ray, told whom to talk to, replaced, sent away."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import ray
from ray import ObjectRef

from apex_ray.config.schema import ApexConfig
from apex_ray.nodes.cluster_nodes import ClusterNodes
from apex_ray.nodes.fleet import Fleet
from apex_ray.nodes.launch import Launcher, Nodes
from apex_ray.nodes.per_node import Helper, PerNode
from apex_ray.nodes.processes import Process
from apex_ray.nodes.stall import INFERENCE, LEARNER
from apex_ray.nodes.supervise import Supervisor, Watched
from apex_ray.site import Site
from apex_ray.talk import FEW_ACTORS, REPORT_EVERY_S
from trainkit.words import Say

LATER_S = 2 * REPORT_EVERY_S  # that silence counts of who is silent while another part hangs: that one comes first
GIVEN_UP_S = 60.0  # that a node's relay or inference may take to come back


class Crew:
    def __init__(
        self,
        config: ApexConfig,
        site: Site,
        launch: Launcher,
        nodes: Nodes,
        supervisor: Supervisor,
        generation: int,
        say: Say,
    ) -> None:
        """All of them are asked of Ray at once."""
        self._launch, self._nodes, self._supervisor, self._generation = launch, nodes, supervisor, generation
        self.cluster = ClusterNodes()
        self.fleet = Fleet(site.sizes.min_actors, config.cluster.shortage_s, site.here, say, self.cluster)
        self._actors = site.sizes.actors
        self._relays = PerNode(self._wants_relay)
        self._inference = PerNode(lambda node: config.actors.inference == "node")
        for index in range(site.sizes.actors):
            name, gone, follow = f"actor {index}", partial(self.fleet.gone, index), partial(self._act, index)
            supervisor.watch(self._start(index), Watched(name, partial(self._replace, index), gone, follow))

    def _wants_relay(self, node: str) -> bool:
        """Whether it may hold more than a few of the run's actors, and weights and metrics are elsewhere."""
        if self._actors <= FEW_ACTORS:
            return False
        room = self._launch.actors_of(self.cluster.cpus(node))
        return min(self._actors, room) > FEW_ACTORS and node != self._launch.home()

    def _start(self, index: int) -> ObjectRef[Any]:
        """Ask for actor `index`: a call that ends when it has started."""
        handle = self._launch.actor(index, self._generation)
        self.fleet.add(index, handle)
        started: ObjectRef[Process] = handle.process.remote()
        return started

    def _act(self, index: int, process: Process | None) -> ObjectRef[Any] | None:
        """Have actor `index`, which has started, act: a call that does not end. None: it was that one that ended."""
        if process is None:
            return None
        handle, nodes, node = self.fleet.started(index, process), self._nodes, process.node
        relay = self._relays.of(node, partial(self._start_helper, "relay", self._launch.relay, node))
        own = self._inference.of(node, partial(self._start_helper, "inference", self._launch.inference_of, node))
        weights, metrics = (relay, relay) if relay else (nodes.weights, nodes.metrics)
        self.fleet.begins(index, handle.begin.remote(nodes.shards, weights, metrics, own or nodes.inference))
        acting: ObjectRef[Any] = handle.run.remote()
        return acting

    def _replace(self, index: int) -> ObjectRef[Any]:
        node = self.fleet.forget(index)
        if node is not None and not self.fleet.on(node):
            for helpers in (self._relays, self._inference):
                helpers.left(node)
        self._nodes.metrics.forget.remote(f"actor {index}")
        return self._start(index)

    def _start_helper(self, kind: str, launch: Callable[[int, str, str], Any], node: str, number: int) -> Helper:
        name = f"{kind} {number} on {self.cluster.address(node)}"
        handle = launch(number, name, node)
        forgotten = partial(self._nodes.metrics.forget.remote, name)
        return Helper(name, self._supervisor.keep(name, handle, forgotten, gone=partial(self._gone, node, name)))

    def _gone(self, node: str, name: str, lost_s: float) -> bool:
        """Whether the helper of that node, lost for so long, is not waited for: with its node it has gone for good.

        One that Ray does not bring back is given up. The actors there, which talk to it, are started anew as those are
        that were asked to leave, and have another one. That counts as a loss of its kind.
        """
        if self.cluster.lost(node) is None:
            if lost_s < GIVEN_UP_S:
                return False
            self._supervisor.spend_restart(name, TimeoutError(f"it is not back after {lost_s:.0f} s"))
            for actor in self.fleet.dismiss([node]):
                self.fleet.end(actor)
        (self._relays if self._relays.names.get(node) == name else self._inference).retire(node)
        return True

    def check(self) -> None:
        """Say how many act; end helpers that nobody talks to. UserError when fewer than the minimum act for long."""
        self.fleet.check()
        # Not at once: an actor that is being ended would fail by its call to it.
        for helper in (*self._relays.to_end(), *self._inference.to_end()):
            self._supervisor.drop(helper.name)
            ray.kill(helper.handle)
            self._nodes.metrics.forget.remote(helper.name)

    def end(self) -> None:
        """End all actors, for good."""
        self._supervisor.drop(*(f"actor {index}" for index in range(self._actors)))
        self.fleet.kill()

    def leave(self, nodes: Collection[str]) -> None:
        """Have the actors on these nodes leave; others take their place where there is room."""
        if leaving := self.fleet.dismiss(nodes):
            self._nodes.metrics.dismiss.remote(leaving)

    def silent_s(self, reported_s: Mapping[str, float]) -> dict[str, float]:
        """By part that reports, the seconds since it has, of what metrics know: inf where it has not."""
        names, behind = self.fleet.names, self._behind()
        known = {LEARNER, *behind, *names}  # others have gone since they reported
        later_s = Counter(part for parts in behind.values() for part in parts)
        heard_s = {part: max(s - LATER_S * later_s[part], 0.0) for part, s in reported_s.items() if part in known}
        return {name: math.inf for name in names} | heard_s

    def _behind(self) -> dict[str, list[str]]:
        """By part that others wait for, these, as far as they report: they are silent while it hangs."""
        actors = {node: self.fleet.on(node) for node in (*self._relays.names, *self._inference.names)}
        found = {relay: actors[node] for node, relay in self._relays.names.items()}
        for node, name in self._inference.names.items():
            found[name] = [*actors[node], *filter(None, [self._relays.names.get(node)])]
        if self._nodes.inference is not None:
            found[INFERENCE] = [*self.fleet.names, *self._relays.names.values()]
        return found

    def end_hung(self, hung: Mapping[str, str]) -> None:
        """End the processes that have not reported, by name, and why each is; but not who waits for another of them."""
        behind = {part for cause, parts in self._behind().items() if cause in hung for part in parts}
        for part, why in hung.items():
            if part not in behind and not self._supervisor.kill_hung(part, why) and part in self.fleet.names:
                self._supervisor.say_hung(part, why, {part: self.fleet.processes[part]})
                self.fleet.end(part)
