"""Where a run's processes go: Ray embedded or a cluster, whether it has room, and what is placed together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from apex_ray.config.schema import ApexConfig
from apex_ray.demand import bundles, object_store_bytes
from apex_ray.sizes import Sizes
from cluster.connect import Embedded, cluster_address, connected
from cluster.errors import UserError
from cluster.resources import Bundle, Fit, bundle_table, emptied, fit, node_table, snapshot
from cluster.room import ask_autoscaler
from cluster.words import plural

PLACEMENT_TIMEOUT_S = 60.0
AUTOSCALER_POLL_S = 2.0


@dataclass(frozen=True)
class Site:
    """A connected Ray with room for the run."""

    sizes: Sizes
    bundles: list[Bundle]  # the actors' last
    embedded: bool
    dashboard: str | None = None  # host:port
    note: str = ""  # of what the run starts without

    @property
    def gpu(self) -> bool:
        """Whether the learner has one."""
        return self.bundles[0].gpus > 0


@contextmanager
def joined(config: ApexConfig, sized: Callable[[int | None], Sizes]) -> Iterator[Site]:
    """Ray, initialised, with room for the run; `sized` says how large it is on so many cores (None: this machine's).

    An embedded Ray ends with the run. UserError when the cluster can't be reached or is too small.
    """
    address = cluster_address(config.cluster.address)
    if address is None:
        sizes = sized(None)
        # More actors than cores is the user's choice on one machine; Ray would leave them pending for ever.
        wanted = sizes.actors * sizes.actor_cpus + sizes.learner_threads + sizes.inference_cpus
        store = config.cluster.object_store_bytes or object_store_bytes(config, sizes)
        embedded = Embedded(max(os.cpu_count() or 1, wanted), store, config.cluster.dashboard)
        with connected(None, embedded) as dashboard:
            gpus = _gpus(config)
            # One machine, whose memory was checked before: nothing is left for Ray to decide.
            needs = [Bundle(b.name, b.cpus, b.gpus, count=b.count) for b in bundles(config, sizes, gpus)]
            yield Site(sizes, needs, embedded=True, dashboard=dashboard)
        return
    with connected(address, Embedded(0, 0)) as dashboard:
        resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
        sizes = sized(max(int(resources.get("CPU", 0)), 1))
        needs = bundles(config, sizes, _gpus(config))
        found = _room(needs, config.cluster.autoscale_s)
        yield Site(sizes, needs, embedded=False, dashboard=dashboard, note=_note(found))


def _room(needs: list[Bundle], autoscale_s: float) -> Fit:
    """How the run fits, if need be after `autoscale_s` seconds of asking the autoscaler. UserError when it does not."""
    deadline = time.monotonic() + autoscale_s
    found = fit(needs, snapshot())
    try:
        while not found.enough and time.monotonic() < deadline:
            ask_autoscaler(needs)
            time.sleep(AUTOSCALER_POLL_S)
            found = fit(needs, snapshot())
    finally:
        if autoscale_s:
            ask_autoscaler([])  # from here on, pending actors are the demand
    if found.enough:
        return found
    scaling, idle = needs[-1], fit(needs, emptied(found.nodes))
    others = " (others use the rest; it fits when they have ended)" if idle.enough else ""
    most = f"; the largest that fits is actors.count={found.largest}" if _fits_with_fewer(found) else ""
    waited = f" after {autoscale_s:g} s of waiting for the autoscaler" if autoscale_s else ""
    raise UserError(
        f"the run does not fit the cluster{waited}: it needs {found.missing()}{others}{most}\n"
        f"{bundle_table(needs)}\n\n{node_table(found)}\n(actors.count asked for {scaling.count})"
    )


def _fits_with_fewer(found: Fit) -> bool:
    return found.largest > 0 and all(found.count(b) >= b.minimum for b in found.bundles[:-1])


def _note(found: Fit) -> str:
    actors = found.bundles[-1]
    if found.whole:
        return ""
    return f"room for {found.count(actors)} of {plural(actors.count, 'actor')} now; the others start when nodes join"


class Placement:
    """One placement group for all but the actors: learner and first shard on one node, the rest packed near it."""

    def __init__(self, needs: list[Bundle]) -> None:
        self._needs = [b for b in needs[:-1] for _ in range(b.count)]
        # Ray refuses an empty bundle; a hundredth of a CPU stands for "anywhere".
        amounts = [b.scheduled or {"CPU": 0.01} for b in self._needs]
        selectors = [dict(b.labels) for b in self._needs]
        labels = {"bundle_label_selector": selectors} if any(selectors) else {}
        self._group: Any = placement_group(amounts, strategy="PACK", **labels)
        try:
            ray.get(self._group.ready(), timeout=PLACEMENT_TIMEOUT_S)
        except ray.exceptions.GetTimeoutError:
            raise UserError(
                f"the cluster found no room for {', '.join(b.name for b in self._needs)} within "
                f"{PLACEMENT_TIMEOUT_S:g} s, though there seemed to be some: another job may have taken it; start again"
            ) from None

    def of(self, name: str, nth: int = 0) -> PlacementGroupSchedulingStrategy:
        """Where the nth bundle of that name is."""
        index = [i for i, b in enumerate(self._needs) if b.name == name][nth]
        return PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=index)


def _gpus(config: ApexConfig) -> float:
    """GPUs of the cluster. UserError when the learner is to have one and there is none."""
    gpus = float(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]
    device = config.learner.device
    if (
        device.startswith("cuda")
        and not gpus
        and cluster_address(config.cluster.address)
        and config.cluster.autoscale_s
    ):
        return 1.0  # the autoscaler is asked for it; a cluster may start from no node at all
    if device.startswith("cuda") and not gpus:
        there = "this machine's torch sees none" if not torch.cuda.is_available() else "Ray was told of none"
        raise UserError(f"learner.device = {device!r}, but the cluster has no GPU ({there}); expected auto or cpu")
    return gpus
