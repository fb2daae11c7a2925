"""A run's needs beside what a cluster has, as text."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import ray

from cluster.connect import Embedded, cluster_address, connected
from cluster.local_head import running_head
from cluster.resources import Bundle, Fit, Node, bundle_table, emptied, fit, node_table, snapshot

Planner = Callable[[Sequence[str], int | None, float], list[Bundle]]


def show_plan(planner: Planner, words: Sequence[str], address: str) -> tuple[bool, str]:
    """(whether the run fits what is free, the plan) on the cluster at `address`; without one, on this machine."""
    where = cluster_address(address or None)
    if where is None and not address and (head := running_head()) is not None:
        where = f"127.0.0.1:{head.ports.gcs}"
    if where is None:
        nodes = [_this_machine()]
        return _told(planner(words, None, 0.0), nodes, "this machine (no cluster given)")
    with connected(where, Embedded(0, 0)):
        nodes = snapshot()
        resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
        cores, gpus = max(int(resources.get("CPU", 0)), 1), float(resources.get("GPU", 0))
    return _told(planner(words, cores, gpus), nodes, where)


def _this_machine() -> Node:
    import psutil

    cpus, memory = float(os.cpu_count() or 1), float(psutil.virtual_memory().available)
    amounts = {"CPU": cpus, "memory": memory, "object_store_memory": memory}
    return Node("here", "this machine", amounts, amounts)


def _told(bundles: list[Bundle], nodes: list[Node], where: str) -> tuple[bool, str]:
    found = fit(bundles, nodes)
    return found.enough, f"{bundle_table(bundles)}\n\n{where}\n{node_table(found)}\n\n{_verdict(found)}"


def _verdict(found: Fit) -> str:
    scaling = found.bundles[-1]
    largest = f"the largest count of {scaling.name} that fits is {found.largest}"
    if found.whole:
        return f"fits; {largest}"
    if found.enough:
        return f"fits in part: {found.count(scaling)} of {scaling.count} x {scaling.name} now, the rest as nodes join"
    busy = fit(found.bundles, emptied(found.nodes)).enough
    later = "; it fits when what runs there now has ended" if busy else ""
    others = all(found.count(b) >= b.minimum for b in found.bundles[:-1])
    return f"does not fit: needs {found.missing()}{later}" + (f"; {largest}" if others else "")
