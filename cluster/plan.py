"""A run's needs beside what a cluster has, as text."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial

import ray

from cluster.connect import Embedded, cluster_address, connected
from cluster.fit_range import bounded, fit_range
from cluster.local_head import running_head
from cluster.resource_tables import bundle_table, node_table
from cluster.resources import Bundle, Fit, Node, Planner, emptied, fit, snapshot
from trainkit.errors import UserError


def show_plan(planner: Planner, words: Sequence[str], address: str, given: Sequence[str] = ()) -> tuple[bool, str]:
    """(whether the run fits what is free, the plan) on the cluster at `address`; without one, on this machine.

    `given` are figures to expect the run's speed by, in place of the trainer's own.
    """
    if given and planner.expects is None:
        raise UserError(f"command line: --given {given[0]}: no figures were measured for this trainer; leave it out")
    where = cluster_address(address or None, "--address")
    if where is None and not address and (head := running_head()) is not None:
        where = f"127.0.0.1:{head.ports.gcs}"
    if where is None:
        return _report(planner, words, given, None, 0.0, [_this_machine()], "this machine (no cluster given)")
    with connected(where, Embedded(0, 0), "--address"):
        nodes = snapshot()
        resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
        cores, gpus = max(int(resources.get("CPU", 0)), 1), float(resources.get("GPU", 0))
    return _report(planner, words, given, cores, gpus, nodes, where)


def _this_machine() -> Node:
    import psutil

    cpus, memory = float(os.cpu_count() or 1), float(psutil.virtual_memory().available)
    amounts = {"CPU": cpus, "memory": memory, "object_store_memory": memory}
    return Node("here", "this machine", amounts, amounts)


def _report(
    planner: Planner,
    words: Sequence[str],
    given: Sequence[str],
    cores: int | None,
    gpus: float,
    nodes: list[Node],
    where: str,
) -> tuple[bool, str]:
    needs = partial(planner.needs, words, cores, gpus)
    asked = needs()
    found = fit_range(asked, nodes)
    parts = [bundle_table(found.bundles), f"{where}\n{node_table(found)}"]
    parts.append("; ".join(filter(None, (_verdict(found), bounded(asked, found), _largest(needs, found)))))
    if planner.expects is not None:
        parts.append(planner.expects(words, cores, gpus, found, given))
    return found.enough, "\n\n".join(parts)


def _verdict(found: Fit) -> str:
    scaling = found.scaling
    if found.whole:
        return "fits"
    if found.enough:
        return f"fits in part: {found.count(scaling)} of {scaling.count} x {scaling.name} now, the rest as nodes join"
    busy = fit(found.bundles, emptied(found.nodes)).enough
    later = "; it fits when what runs there now has ended" if busy else ""
    return f"does not fit: needs {found.missing()}; {found.lacking()}{later}"


def _largest(plan: Callable[..., list[Bundle]], found: Fit) -> str:
    """The largest count that fits what is free, as a setting. What else the run needs depends on the count as well."""

    def fits(count: int) -> bool:
        try:
            return fit(plan(count=count), found.nodes).whole
        except UserError:
            return False

    scaling = found.scaling
    free = sum(node.free.get("CPU", 0.0) for node in found.nodes)
    low, high = 0, int(free // scaling.cpus) + 1  # low fits, or is none; high does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    setting = f"{scaling.name}s.count"
    return f"the largest that fits is {setting}={low}" if low else f"no {setting} fits"
