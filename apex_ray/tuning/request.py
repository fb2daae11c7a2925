"""What a trial asks of the cluster: a placement group with a bundle for each process of its run."""

from __future__ import annotations

import os

import ray
from ray.tune import PlacementGroupFactory

from apex_ray.config.schema import ApexConfig
from apex_ray.demand import bundles, probed
from apex_ray.nodes.connection import crowded
from apex_ray.sizes import resolve_sizes
from cluster.resources import emptied, snapshot


def placement(config: ApexConfig) -> PlacementGroupFactory:
    """For a run with these settings on the Ray that this process is in, which nodes/trial_group.py finds again.

    The trial's own process waits most of its time and asks for nothing. On the only machine of a cluster, a run with
    more processes than cores shares them, as it does without Tune.
    """
    if config.mode == "serial":
        return PlacementGroupFactory([{"CPU": 1.0}])
    there = ray.is_initialized()
    resources = ray.cluster_resources() if there else {}  # type: ignore[no-untyped-call]
    cores = int(resources.get("CPU", 0)) or os.cpu_count() or 1
    sizes = resolve_sizes(config, probed(config.env), cores)
    needs = bundles(config, sizes, float(resources.get("GPU", 0)))
    if there:
        needs, _ = crowded(needs, emptied(snapshot()))
    wanted = [bundle for bundle in needs for _ in range(bundle.count)]
    labels = [dict(bundle.labels) for bundle in wanted]
    more = {"bundle_label_selector": labels} if any(labels) else {}
    return PlacementGroupFactory([{}, *(bundle.scheduled for bundle in wanted)], "PACK", **more)
