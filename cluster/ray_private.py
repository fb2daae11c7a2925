"""All that this project uses of Ray and that Ray does not promise to keep; each line says why nothing public does.

No other file imports private parts of Ray. tests/cluster/test_ray_private.py has a test for each, which names what
breaks when Ray changes it. Ray Train is imported inside what needs it, as that takes seconds.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import ray

if TYPE_CHECKING:
    from ray.util.metrics import Counter

UPLOAD_BYTES = 100 * 2**20  # that the dashboard takes of a job; Ray has the number in a private module only
CHECKPOINT_LIST = "checkpoint_manager_snapshot.json"  # Ray Train's, in a run's folder; so has it this name
POLL_S = 1.0  # seconds between two looks whether there is room for workers
Held = list[tuple[str, dict[str, float]]]  # (node's id, resources)


def free_by_node() -> dict[str, dict[str, float]]:
    """Node's id -> what is free there; ray.available_resources() adds all nodes up."""
    from ray._private.state import available_resources_per_node

    free: dict[str, dict[str, float]] = available_resources_per_node()  # type: ignore[no-untyped-call]
    return free


def restarts(handle: Any) -> int:
    """How often Ray has started an actor anew; publicly only its dashboard tells. Calls to one whose processes end
    while they are made wait, and never fail.
    """
    if client_address():
        count: int = ray.get(ray.remote(num_cpus=0)(_restarts).remote(actor_id(handle)))
        return count
    return _restarts(actor_id(handle))


def _restarts(actor: str) -> int:
    from ray._private.state import state

    return int(state.actor_table(actor).get("NumRestarts", 0))


def draining_nodes() -> dict[str, float]:
    """Node's id -> seconds until its machine is taken away, inf where nobody said when: those that got Ray's notice.

    ray.nodes() does not tell. Ray's drain requests come from its autoscaler and from `ray drain-node`.
    """
    if client_address():  # a Ray Client knows of no node by itself
        found: dict[str, float] = ray.get(ray.remote(num_cpus=0)(_draining_nodes).remote())
        return found
    return _draining_nodes()


def _draining_nodes() -> dict[str, float]:
    from ray._private.state import state

    deadlines: dict[str, int] = state.get_draining_nodes()  # milliseconds since 1970, 0 for none
    return {node: at / 1000 - time.time() if at else math.inf for node, at in deadlines.items()}


def client_address() -> str | None:
    """ray://host:port of this process's Ray Client, None without; ray.util.client has no name for it."""
    client = ray.util.client.ray.get_context()  # type: ignore[no-untyped-call]
    return f"ray://{client.client_worker._conn_str}" if client.is_connected() else None


def dashboard() -> str | None:
    """host:port of the dashboard of the Ray that this process is in; only the return value of ray.init() has it."""
    return None if client_address() else ray._private.worker.get_dashboard_url() or None  # type: ignore[no-untyped-call]


def ray_of_this_machine() -> str | None:
    """host:port that `auto` means, None without one; ray.init(address="auto") first retries for half a minute."""
    from ray._private.services import canonicalize_bootstrap_address

    try:
        return canonicalize_bootstrap_address("auto")
    except ConnectionError:
        return None


def registered_with_tune(kind: Literal["env_creator", "rllib_model"], name: str) -> Any:
    """What a program registered by this name, as by ray.tune.register_env; None: nothing. There is no public reader."""
    from ray.tune.registry import _global_registry

    return _global_registry.get(kind, name) if _global_registry.contains(kind, name) else None  # type: ignore[no-untyped-call]


def cheap_call(client: bool) -> tuple[str, bytes]:
    """(gRPC method, request) that a Ray or its port for clients answers at once; Ray's own calls retry in silence."""
    if not client:
        return "/ray.rpc.NodeInfoGcsService/GetClusterId", b""
    from ray.core.generated.ray_client_pb2 import ClusterInfoRequest, ClusterInfoType  # type: ignore[attr-defined]

    return "/ray.rpc.RayletDriver/ClusterInfo", ClusterInfoRequest(type=ClusterInfoType.PING).SerializeToString()


def actor_id(handle: Any) -> str:
    """The id that an ActorDiedError has; publicly only the actor itself can ask for it, and it may be gone."""
    return str(handle._actor_id.hex())


def once(method: Any) -> Any:
    """A method of an actor that Ray is not to call again: what ray.method(max_task_retries=0) says, which Ray's client,
    where a program has one, does not know.
    """
    return ray.method.__wrapped__(max_task_retries=0)(method)  # type: ignore[attr-defined]


def read_environment_again() -> None:
    """Have Ray look at its RAY_ variables, which it reads once, as it is imported."""
    from ray._raylet import Config  # type: ignore[attr-defined]

    Config.initialize("")


def leave_out(pattern: str) -> None:
    """Keep lines that match out of what Ray prints, unless its user has a pattern; Ray reads its variable at import."""
    from ray._private import ray_logging

    for printed in (ray_logging.stdout_deduplicator, ray_logging.stderr_deduplicator):
        printed.skip_re = printed.skip_re or re.compile(pattern)


@contextmanager
def starting(script: Path, dashboard: bool) -> Iterator[None]:
    """A Ray that is started inside runs `script` for each worker, and no process that only a cluster has a use for: one
    that sends each worker's lines to programs; and without a `dashboard` neither one that looks for machines nor the
    server of its pages, for which ray.init() would wait.

    ray.init() has no options for these, but for a command before Ray's own script, `py_executable`, and that script
    imports Ray to find what to run.
    """
    from ray._private import node, parameter

    params: Any = parameter.RayParams
    serve = node.Node.start_api_server
    given = {"setup_worker_path": str(script), "include_log_monitor": False, "no_monitor": not dashboard}
    parameter.RayParams = partial(params, **given)  # type: ignore[misc, assignment]
    if not dashboard:
        node.Node.start_api_server = lambda self, **options: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        parameter.RayParams = params  # type: ignore[misc]
        node.Node.start_api_server = serve  # type: ignore[method-assign]


def worker_script() -> str:
    """The path of Ray's own script, which sets up each worker."""
    from ray._private.workers import setup_worker

    return setup_worker.__file__


def own_session() -> tuple[Path, list[int]]:
    """(folder, process numbers) of the Ray that this process started; ray.init() gives the folder only."""
    node: Any = ray._private.worker._global_node
    pids = [info.process.pid for kind in node.all_processes.values() for info in kind]
    return Path(node.get_session_dir_path()), pids


def shutdown_at_once() -> None:
    """ray.shutdown() without the second that it gives each of its services to hear SIGTERM, which ours don't."""
    node: Any = ray._private.worker._global_node
    kill = node.kill_all_processes
    node.kill_all_processes = lambda **options: kill(check_alive=False, allow_graceful=False, wait=True)
    ray.shutdown()


def pack(folder: Path, package: Path, excludes: Sequence[str]) -> None:
    """Write the .zip that a job's working_dir is sent as; ray.job_submission packs, sends and only then is refused."""
    from ray._private.runtime_env.packaging import create_package

    create_package(str(folder), package, include_gitignore=True, excludes=list(excludes))


def quiet_job_client() -> None:
    """Keep JobSubmissionClient from a line for each file and request: its loggers have a level of their own."""
    for module in ("ray", "ray.dashboard.modules.job.sdk", "ray.dashboard.modules.dashboard_sdk"):
        logging.getLogger(module).setLevel(logging.ERROR)


def add(counter: Counter, value: float, tags: dict[str, str]) -> None:
    """Counter.inc() that takes 0, so that a counter is there before anything was counted."""
    counter._record(value, tags)


def is_of_ray_train(error: BaseException) -> bool:
    """Whether Ray Train itself raised it; its public errors are those of a run as a whole."""
    from ray.train.v2._internal.exceptions import RayTrainError

    return isinstance(error, RayTrainError)


def held_by_this_actor() -> Held:
    """What each bundle of the placement groups has that this actor made; the public table does not say who made one.

    Ray Train counts what there is room for while it still has the workers of before, also those that failed.
    """
    from ray._private.state import state
    from ray.core.generated.gcs_pb2 import PlacementGroupTableData  # type: ignore[attr-defined]

    me = ray.get_runtime_context().get_actor_id()
    groups = map(PlacementGroupTableData.FromString, state._connect_and_get_accessor().get_placement_group_table())
    return [
        (bundle.node_id.hex(), dict(bundle.unit_resources))
        for group in groups
        if group.creator_actor_id.hex() == me and group.state != PlacementGroupTableData.REMOVED
        for bundle in group.bundles
        if bundle.node_id
    ]


class Room(Protocol):
    """What decides how many workers an elastic job gets."""

    def workers(self, held: Held) -> int: ...
    def may_grow(self) -> bool: ...


def _scaling_policy(scaling: Any, room: Room) -> Any:
    """Ray Train's elastic policy, which has no hook for what it counts; a job that runs never gets fewer workers."""
    from ray.train.v2._internal.execution.scaling_policy import ElasticScalingPolicy, NoopDecision, ResizeDecision

    class ByRoom(ElasticScalingPolicy):
        def make_decision_for_non_running_worker_group(self) -> Any:
            decision = super().make_decision_for_non_running_worker_group()
            if isinstance(decision, NoopDecision):
                time.sleep(POLL_S)  # Ray Train asks again at once
            return decision

        def make_decision_for_running_worker_group(self, worker_group_state: Any, worker_group_status: Any) -> Any:
            self._maybe_send_resource_request()  # type: ignore[no-untyped-call]
            if not room.may_grow():
                return NoopDecision()
            decision = super().make_decision_for_running_worker_group(worker_group_state, worker_group_status)
            grows = isinstance(decision, ResizeDecision) and decision.num_workers > worker_group_state.num_workers
            return decision if grows else NoopDecision()

        def _get_reserved_resources(self) -> dict[str, Any]:
            return {}  # what jobs of Ray Train have asked for of each node, whether it is free or not

        def _count_possible_workers(self, reserved_resources: Mapping[str, Any]) -> int:
            return room.workers(held_by_this_actor())

    return ByRoom(scaling)


def torch_trainer(alone: bool, room: Room | None) -> type[Any]:
    """TorchTrainer that grows by `room`, leaves Ctrl-C to us and starts no idle processes; it has no options for that.

    `alone`: on a Ray of this process's own. `room` None: a fixed number of workers.
    """
    from ray.train.torch import TorchTrainer
    from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
    from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback

    # Processes that would have nothing to do. Without a dashboard, which it asks, the cleaner takes 12 s to end.
    idle = (DatasetsCallback, PlacementGroupCleanerCallback) if alone else (DatasetsCallback,)

    class Trainer(TorchTrainer):
        """The type hints are those of Ray Train's first version."""

        def _create_default_callbacks(self) -> list[Any]:
            return [c for c in super()._create_default_callbacks() if not isinstance(c, idle)]  # type: ignore[misc]

        def _register_sigint_handler(self, controller: Any) -> None:
            """Ray's would end the run without a checkpoint; ours is there already."""

        def _initialize_and_run_controller(self, **parts: Any) -> Any:
            if room is not None:
                parts["scaling_policy"] = _scaling_policy(self.scaling_config, room)
            return super()._initialize_and_run_controller(**parts)  # type: ignore[misc]

    return Trainer
