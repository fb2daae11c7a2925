"""What a cluster is doing, from Ray's state API: nodes, jobs, and each job's actors under the names we gave them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from cluster.dashboard import check_dashboard, get
from cluster.jobs import Jobs, job_table
from trainkit.words import table

LIMIT = 10_000  # the state API's own most
INTERNAL = "_ray_internal"  # names of Ray's own actors begin so
ALIVE = "ALIVE"


def status(address: str) -> str:
    """Three tables. UserError when the cluster can't be reached or refuses us."""
    check_dashboard(address)
    nodes = _listed(address, "nodes")
    names = {n["node_id"]: n["node_ip"] + (" (head)" if n.get("is_head_node") else "") for n in nodes}
    actors = [a for a in _listed(address, "actors") if not (a.get("name") or "").startswith(INTERNAL)]
    jobs = [job for job in Jobs(address).all() if not job.status.is_terminal()]
    return "\n\n".join(
        [
            f"{address} at {time.strftime('%H:%M:%S')}",
            node_rows(nodes, names),
            job_table(jobs, time.time()) if jobs else "no job is running",
            actor_rows(actors, names),
        ]
    )


def _listed(address: str, what: str) -> list[dict[str, Any]]:
    answer = get(address, f"/api/v0/{what}?limit={LIMIT}&detail=1")
    return list(answer["data"]["result"]["result"])


def node_rows(nodes: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> str:
    """A line a node, the live ones first."""
    rows = []
    for node in sorted(nodes, key=lambda n: n["state"] != ALIVE):
        total = node.get("resources_total") or {}
        counts = [f"{total.get(kind, 0):g}" for kind in ("CPU", "GPU")]
        sizes = [f"{total.get(kind, 0) / 2**30:.1f}" for kind in ("memory", "object_store_memory")]
        rows.append((names[node["node_id"]], node["state"].lower(), *counts, *sizes))
    return table(("node", "state", "CPU", "GPU", "memory GiB", "object store GiB"), rows)


def actor_rows(actors: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> str:
    """A line an actor that lives or waits, and how many are gone."""
    there = [a for a in actors if a["state"] != "DEAD"]
    rows = [
        (
            a.get("name") or a["class_name"],
            a["class_name"],
            a["state"].lower(),
            names.get(a.get("node_id") or "", "-"),
            str(a.get("pid") or "-"),
            str(a.get("job_id") or "-"),
        )
        for a in sorted(there, key=lambda a: (a.get("job_id") or "", _natural(a.get("name") or a["class_name"])))
    ]
    states = Counter(a["state"].lower() for a in actors)
    summary = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none"
    head = ("actor", "class", "state", "node", "process", "Ray job")
    return f"{table(head, rows)}\n\nactors: {summary}" if rows else f"actors: {summary}"


def _natural(name: str) -> tuple[str, int]:
    """actor-10 after actor-9."""
    stem, _, number = name.rpartition("-")
    return (stem, int(number)) if number.isdigit() else (name, 0)
