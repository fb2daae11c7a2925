"""How many workers an elastic job gets on a cluster that others use too.

Ray Train's own policy counts the nodes as if nothing else ran on them. Beside Ape-X it asks for CPUs that actors hold,
waits a minute for them in vain, and asks again, for ever; a job that runs is stopped for it every minute. Here what
is free counts, and a running job grows only right after a checkpoint, so that nothing is computed twice.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.train.v2._internal.execution.scaling_policy import (
    ElasticScalingPolicy,
    NoopDecision,
    ResizeDecision,
    ScalingDecision,
)
from ray.train.v2.api.config import ScalingConfig

from cluster.resources import Bundle, Node, fit, snapshot
from trainkit.checkpoints import whole
from trainkit.runs import STOP_FILE

POLL_S = 1.0


class FreeRoom(ElasticScalingPolicy):
    """As many workers as fit what is free and what the job itself holds."""

    def __init__(self, scaling: ScalingConfig, worker: Bundle, run: Path) -> None:
        super().__init__(scaling)
        self._worker, self._run = worker, run
        self._checkpoint: Path | None = None  # after which it was last considered whether to grow

    def make_decision_for_non_running_worker_group(self) -> ScalingDecision:
        decision = super().make_decision_for_non_running_worker_group()
        if isinstance(decision, NoopDecision):
            time.sleep(POLL_S)  # Ray Train asks again at once
        return decision

    def make_decision_for_running_worker_group(
        self, worker_group_state: Any, worker_group_status: Any
    ) -> ScalingDecision:
        self._maybe_send_resource_request()  # type: ignore[no-untyped-call]
        kept = whole(self._run)
        newest = kept[-1] if kept else None
        if newest == self._checkpoint or (self._run / STOP_FILE).exists():
            return NoopDecision()
        self._checkpoint = newest
        decision = super().make_decision_for_running_worker_group(worker_group_state, worker_group_status)
        grows = isinstance(decision, ResizeDecision) and decision.num_workers > worker_group_state.num_workers
        return decision if grows else NoopDecision()

    def _get_reserved_resources(self) -> dict[str, Any]:
        return {}  # what jobs of Ray Train have asked for of each node, whether it is free or not

    def _count_possible_workers(self, reserved_resources: Mapping[str, Any]) -> int:
        found = fit([self._worker], with_own(snapshot(), held_by_this_actor()))
        return found.count(self._worker)


def with_own(nodes: list[Node], held: list[tuple[str, dict[str, float]]]) -> list[Node]:
    """The nodes as if what is `held` (node's id, resources) were free."""
    free = {node.id: dict(node.free) for node in nodes}
    for id, resources in held:
        for kind, amount in resources.items():
            if id in free:
                free[id][kind] = free[id].get(kind, 0.0) + amount
    return [replace(node, free=free[node.id]) for node in nodes]


def held_by_this_actor() -> list[tuple[str, dict[str, float]]]:
    """(node's id, resources) of each bundle of the placement groups that this actor made and has."""
    from ray._private.state import state
    from ray.core.generated.gcs_pb2 import PlacementGroupTableData  # type: ignore[attr-defined]

    me = ray.get_runtime_context().get_actor_id()
    groups = [
        PlacementGroupTableData.FromString(data)
        for data in state._connect_and_get_accessor().get_placement_group_table()
    ]
    return [
        (bundle.node_id.hex(), dict(bundle.unit_resources))
        for group in groups
        if group.creator_actor_id.hex() == me and group.state != PlacementGroupTableData.REMOVED
        for bundle in group.bundles
        if bundle.node_id
    ]
