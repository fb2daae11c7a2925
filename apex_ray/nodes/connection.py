"""Where a run's processes go: Ray embedded or a cluster, whether it has room, and what is placed together."""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import ray
import torch
from ray.util.placement_group import placement_group, placement_group_table
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from apex_ray.config.schema import ApexConfig
from apex_ray.demand import ACTOR, bundles, object_store_bytes
from apex_ray.nodes.trial_group import trial_group
from apex_ray.site import IMPORTS, Site
from apex_ray.sizes import Sizes
from cluster.connect import Embedded, cluster_address, connected, slow_store
from cluster.fit_range import bounded
from cluster.initialised import end_actors, free_cpus, has_guests, initialised, ours, session
from cluster.resources import Bundle, Fit, Node, cpus, snapshot
from cluster.room import wait_for_room
from trainkit.errors import UserError
from trainkit.words import plural

PLACEMENT_TIMEOUT_S = 60.0


@contextmanager
def joined(config: ApexConfig, sized: Callable[[int | None], Sizes]) -> Iterator[Site]:
    """Ray, initialised, with room for the run; `sized` says how large it is on so many cores (None: this machine's).

    An embedded Ray ends with the run, the one that this process is in already goes on. UserError when the cluster can't
    be reached or is too small.
    """
    there, address = initialised(), cluster_address(config.cluster.address)
    if address is None:
        sizes = sized(None)
        embedded, _ = own_ray(config, sizes, os.cpu_count() or 1)
        note = slow_store(embedded)
        with connected(None, embedded) as dashboard:
            needs = _unbound(bundles(config, sizes, _gpus(config, embedded=True)))
            with _of_one_run(goes_on=False) as namespace:
                yield Site(sizes, True, dashboard, note, _by_name(needs), namespace=namespace)
        return
    with connected(address, Embedded(0, 0)) as dashboard:
        resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
        # A Ray of our own says that it has more cores than there are, where its runs want more.
        sizes = sized(None if ours() else max(int(resources.get("CPU", 0)), 1))
        needs, crowd, group = bundles(config, sizes, _gpus(config, embedded=False)), "", None
        if trial := trial_group(needs):
            group, needs = trial
            placed = "placed in the trial's own group"
        else:
            if there is not None:
                needs, crowd = crowded(needs, snapshot(), ours())
            found = wait_for_room(needs, config.cluster.autoscale_s, partial(print, flush=True), for_others=False)
            placed = "; ".join(filter(None, (_note(found), bounded(needs, found))))
            needs, sizes = list(found.bundles), replace(sizes, actors=found.scaling.count)
        after = "ends with the last of this program's runs" if ours() else "goes on after the run"
        joins = f"joined the Ray at {there}, which {after}" if there is not None else ""
        note = "; ".join(filter(None, (joins, crowd, placed)))
        with _of_one_run(goes_on=there is not None) as namespace:
            yield Site(sizes, False, dashboard, note, _by_name(needs), group, namespace)


@contextmanager
def _of_one_run(goes_on: bool) -> Iterator[str]:
    """A namespace for the run's actors, which end with the block where their Ray goes on."""
    there, namespace, free = session(), f"apex-ray-{uuid.uuid4().hex[:12]}", free_cpus()
    try:
        yield namespace
    finally:
        if goes_on or has_guests(there):
            end_actors(there, namespace, free)


def _by_name(needs: list[Bundle]) -> dict[str, Bundle]:
    return {bundle.name: bundle for bundle in needs}


def own_ray(config: ApexConfig, sizes: Sizes, cores: int) -> tuple[Embedded, list[Bundle]]:
    """(a Ray that holds the run, on a machine with so many cores and no GPU; the bundles that it holds)."""
    needs = _unbound(bundles(config, sizes, gpus=0.0))
    # More actors than cores is the user's choice on one machine; Ray would leave them pending for ever. The one beyond
    # is for other runs of this program, which join it.
    store = config.cluster.object_store_bytes or object_store_bytes(config, sizes)
    return Embedded(max(cores, math.ceil(cpus(needs)) + 1), store, config.cluster.dashboard, IMPORTS), needs


def _unbound(needs: list[Bundle]) -> list[Bundle]:
    """Without bytes: the memory of one machine was checked before, and nothing of it is left for Ray to decide."""
    return [Bundle(b.name, b.cpus, b.gpus, count=b.count) for b in needs]


def crowded(needs: list[Bundle], nodes: list[Node], own: bool = False) -> tuple[list[Bundle], str]:
    """(`needs` with less of a CPU each where the one machine that there is has too few free, what to say of it).

    More processes than cores is the user's choice on one machine, but Ray would leave them pending for ever. Where not
    one CPU is free, others have the machine, and `needs` stay as they are; but not in an `own` Ray, which runs of this
    program started for themselves: each that joins takes half of what is free.
    """
    least = cpus([replace(b, count=b.minimum) for b in needs])
    free = nodes[0].free.get("CPU", 0.0)
    if len(nodes) > 1 or least <= free or (free < 1 and not own):
        return needs, ""
    share = free / (2 * least if own else least)  # Ray counts in ten-thousandths
    less = [replace(b, cpus=max(math.floor(1000 * b.cpus * share), 1) / 1000 if b.cpus else 0.0) for b in needs]
    return less, f"its {free:g} free CPU are shared by processes that would take {least:g}"


def _note(found: Fit) -> str:
    actors = found.scaling
    if found.whole:
        return ""
    return f"room for {found.count(actors)} of {plural(actors.count, 'actor')} now; the others start when nodes join"


class Placement:
    """Where each process goes.

    One placement group holds all but the actors: learner and first shard on one node, the rest packed near it. Actors
    come and go, and are wherever there is room. A Tune trial's own `group` holds them all: it is what the trial has.
    """

    def __init__(self, needs: Mapping[str, Bundle], name: str | None, group: Any = None) -> None:
        self._in_trial, self._actor_labels = group is not None, needs[ACTOR].labels
        self._needs = [b for b in needs.values() if self._in_trial or b.name != ACTOR for _ in range(b.count)]
        self._group: Any = group or self._new_group(name)
        self._first = len(self._group.bundle_specs) - len(self._needs)  # a trial's own process may have one before

    def _new_group(self, name: str | None) -> Any:
        amounts = [b.scheduled for b in self._needs]
        selectors = [dict(b.labels) for b in self._needs]
        labels = {"bundle_label_selector": selectors} if any(selectors) else {}
        group = placement_group(amounts, strategy="PACK", name=name or "", **labels)
        try:
            ray.get(group.ready(), timeout=PLACEMENT_TIMEOUT_S)
        except ray.exceptions.GetTimeoutError:
            raise UserError(
                f"the cluster found no room for {', '.join(b.name for b in self._needs)} within "
                f"{PLACEMENT_TIMEOUT_S:g} s, though there seemed to be some: another job may have taken it; start again"
            ) from None
        return group

    def nodes(self) -> set[str]:
        """The ids of the nodes that the group's bundles are on now."""
        table: dict[str, Any] = placement_group_table(self._group)
        return {node for node in table["bundles_to_node_id"].values() if node}

    def node(self, name: str) -> str | None:
        """The id of the node that the bundle of that name, or the first of them, is on now."""
        table: dict[str, Any] = placement_group_table(self._group)
        return table["bundles_to_node_id"].get(self._index(name, 0)) or None

    def of_actor(self, index: int) -> dict[str, Any]:
        """Ray's options that say where an actor goes."""
        if self._in_trial:
            return {"scheduling_strategy": self.of(ACTOR, index)}
        labels = dict(self._actor_labels)
        return {"scheduling_strategy": "DEFAULT", **({"label_selector": labels} if labels else {})}

    def of(self, name: str, nth: int = 0) -> PlacementGroupSchedulingStrategy:
        """Where the nth bundle of that name is."""
        return PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=self._index(name, nth))

    def _index(self, name: str, nth: int) -> int:
        return self._first + [i for i, b in enumerate(self._needs) if b.name == name][nth]


def _gpus(config: ApexConfig, embedded: bool) -> float:
    """GPUs of the cluster. UserError when the learner is to have one and there is none."""
    gpus = float(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]
    device = config.learner.device
    if device.startswith("cuda") and not gpus and not embedded and config.cluster.autoscale_s:
        return 1.0  # the autoscaler is asked for it; a cluster may start from no node at all
    if device.startswith("cuda") and not gpus:
        there = "this machine's torch sees none" if not torch.cuda.is_available() else "Ray was told of none"
        raise UserError(f"learner.device = {device!r}, but the cluster has no GPU ({there}); expected auto or cpu")
    return gpus
