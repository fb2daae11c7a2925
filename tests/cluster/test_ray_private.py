"""What breaks when Ray changes a private part that this project uses: one test for each, and none used elsewhere."""

from __future__ import annotations

import ast
import inspect
import logging
import math
import os
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
import ray
from ray.train import CheckpointConfig, RunConfig, ScalingConfig
from ray.tune import register_env
from ray.util.metrics import Counter

from cluster import ray_private
from cluster.ray_private import Held

ROOT = Path(__file__).parents[2]
PACKAGES = ("apex_ray", "cluster", "lstm", "trainkit", "wavenet")
PRIVATE = re.compile(r"\bray(\.\w+)*\._[a-z]|\bray\.core\.generated|\bray\.dashboard\.modules")
# Private by name only: os._exit is documented, the others are of named tuples.
ALLOWED = {"_exit", "_replace", "_asdict", "_fields"}


@pytest.fixture(scope="module")
def here() -> Iterator[str]:
    """The address of a Ray that this process started."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=2**28)
    yield str(ray.get_runtime_context().gcs_address)
    ray.shutdown()


def sources() -> Iterator[tuple[Path, str]]:
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            if path != ROOT / "cluster" / "ray_private.py":
                yield path, path.read_text()


def test_no_other_file_imports_or_names_private_parts_of_ray() -> None:
    found = []
    for path, text in sources():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.Attribute):
                names = [ast.unparse(node)]
            else:
                continue
            found += [f"{path.relative_to(ROOT)}:{node.lineno} {name}" for name in names if PRIVATE.search(name)]
    assert not found


def test_no_other_file_uses_private_attributes_that_are_not_ours() -> None:
    """What begins with _ in a file that imports Ray, and is defined nowhere in the five packages."""
    used, ours = dict[str, str](), set(ALLOWED)
    for path, text in sources():
        with_ray = re.search(r"^\s*(import|from) ray\b", text, re.MULTILINE) is not None
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr):
                if isinstance(node.ctx, ast.Store):
                    ours.add(node.attr)
                elif with_ray:
                    used[node.attr] = f"{path.relative_to(ROOT)}:{node.lineno}"
            elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                ours.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                ours.add(node.id)
    assert not {name: where for name, where in used.items() if name not in ours}


def test_free_by_node(here: str) -> None:
    """Breaks the plan, the refusal of what does not fit, and elastic jobs: they would see no room."""
    [node] = ray.nodes()
    assert ray_private.free_by_node()[node["NodeID"]]["CPU"] == 2


def test_how_often_an_actor_was_started_anew(here: str) -> None:
    """Breaks the end of a run whose learner is killed each time it starts: it would be started for ever."""

    @ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
    class Actor:
        def there(self) -> bool:
            return True

    actor = Actor.remote()
    assert ray.get(actor.there.remote()) and ray_private.restarts(actor) == 0
    ray.kill(actor, no_restart=False)
    until = time.monotonic() + 60
    while ray_private.restarts(actor) < 1 and time.monotonic() < until:
        time.sleep(0.1)
    assert ray.get(actor.there.remote()) and ray_private.restarts(actor) == 1


def test_which_nodes_are_drained(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks leaving a spot machine in time. (tests/apex_ray/nodes/test_drain.py drains real ones.)"""
    assert ray_private.draining_nodes() == {}
    deadlines = {"a": int((time.time() + 60) * 1000), "b": 0}
    monkeypatch.setattr("ray._private.state.state.get_draining_nodes", lambda: deadlines)
    left_s = ray_private.draining_nodes()
    assert 50 < left_s["a"] <= 60 and left_s["b"] == math.inf


def test_whether_this_process_is_a_client(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks joining the Ray of a notebook."""
    assert ray_private.client_address() is None and ray_private.dashboard() is None
    client = SimpleNamespace(is_connected=lambda: True, client_worker=SimpleNamespace(_conn_str="host:1"))
    monkeypatch.setattr("ray.util.client.ray", SimpleNamespace(get_context=lambda: client))
    assert ray_private.client_address() == "ray://host:1" and ray_private.dashboard() is None
    source = inspect.getsource(__import__("ray.util.client.worker", fromlist=["Worker"]).Worker.__init__)
    assert "self._conn_str = conn_str" in source


def test_the_ray_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks cluster.address=auto."""
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.7:6379")
    assert ray_private.ray_of_this_machine() == "10.0.0.7:6379"
    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", set)
    monkeypatch.setattr("ray._private.utils.read_ray_address", lambda folder=None: None)
    assert ray_private.ray_of_this_machine() is None


def test_what_a_program_registered_with_tune_is_found_by_its_name(here: str) -> None:
    """In this process, and in others of its job."""
    register_env("registered-here", lambda context: context["x"] + 1)

    @ray.remote
    def elsewhere() -> Any:
        make = ray_private.registered_with_tune("env_creator", "registered-here")
        return make({"x": 1}), ray_private.registered_with_tune("rllib_model", "registered-here")

    assert ray_private.registered_with_tune("env_creator", "registered-here")({"x": 2}) == 3
    assert ray.get(elsewhere.remote()) == (2, None)


def test_a_ray_answers_the_cheap_call(here: str) -> None:
    """Breaks the answers within seconds to a wrong token, a wrong port, no Ray: runs would wait half a minute."""
    method, content = ray_private.cheap_call(client=False)
    with grpc.insecure_channel(here) as channel:
        try:
            channel.unary_unary(method)(content, timeout=10)
        except grpc.RpcError as error:  # this Ray may ask for a token
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    method, content = ray_private.cheap_call(client=True)
    services = __import__("ray.core.generated.ray_client_pb2_grpc", fromlist=["_"])
    assert content and method in inspect.getsource(services.RayletDriverStub)


def test_an_actors_id_is_that_of_its_death(here: str) -> None:
    """Breaks the name of a lost process in the message that ends a run."""

    @ray.remote(num_cpus=0)
    class Node:
        def ping(self) -> None: ...

    node = Node.remote()
    ray.get(node.ping.remote())
    ray.kill(node)
    with pytest.raises(ray.exceptions.ActorDiedError) as error:
        while True:
            ray.get(node.ping.remote())
    assert error.value.actor_id == ray_private.actor_id(node)


def test_the_environment_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks sending the token where RAY_AUTH_MODE is not set."""
    from ray._raylet import AuthenticationMode, get_authentication_mode

    before = get_authentication_mode()
    other = {AuthenticationMode.TOKEN: "disabled"}.get(before, "token")
    monkeypatch.setenv("RAY_AUTH_MODE", other)
    ray_private.read_environment_again()
    changed = get_authentication_mode()
    monkeypatch.undo()
    ray_private.read_environment_again()
    assert changed != before == get_authentication_mode()


def test_a_job_is_packed_as_ray_packs_it(tmp_path: Path) -> None:
    """Breaks the refusal, before it is sent, of a working directory that is too large."""
    folder = tmp_path / "job"
    (folder / "runs").mkdir(parents=True)
    for name in ("runs/large", "kept", "ignored"):
        (folder / name).write_text("x")
    (folder / ".gitignore").write_text("ignored\n")
    ray_private.pack(folder, tmp_path / "job.zip", ["runs"])
    with zipfile.ZipFile(tmp_path / "job.zip") as packed:
        names = [Path(name).name for name in packed.namelist()]
    assert "kept" in names and not {"large", "ignored"} & set(names)
    from ray._private.ray_constants import DASHBOARD_CLIENT_MAX_SIZE

    assert ray_private.UPLOAD_BYTES == DASHBOARD_CLIENT_MAX_SIZE


def test_the_job_client_is_quiet() -> None:
    """Breaks nothing but the output of submit, which would fill with requests."""
    import ray.dashboard.modules.dashboard_sdk as sdk
    import ray.dashboard.modules.job.sdk as job_sdk

    ray_private.quiet_job_client()
    assert not any(module.logger.isEnabledFor(logging.WARNING) for module in (sdk, job_sdk))


def test_a_counter_can_stand_at_zero(here: str) -> None:
    """Breaks counters before the first count: Prometheus would not know them."""
    counter = Counter("none_so_far", description="-", tag_keys=("run",))
    recorded: list[Any] = []
    counter._metric = SimpleNamespace(record=lambda value, tags: recorded.append((value, tags)))  # type: ignore[assignment]
    ray_private.add(counter, 0.0, {"run": "a"})
    assert recorded == [(0.0, {"run": "a"})]


def test_errors_of_ray_train_are_told_from_others() -> None:
    """Breaks which errors are tried again: those of Ray Train are of lost workers, others are mistakes."""
    from ray.train.v2._internal.exceptions import WorkerHealthCheckTimeoutError

    lost = WorkerHealthCheckTimeoutError("silent")
    assert ray_private.is_of_ray_train(lost) and not ray_private.is_of_ray_train(KeyError())


def test_the_list_of_checkpoints_has_its_name() -> None:
    """Breaks going on with a run whose checkpoint a user removed."""
    from ray.train.v2._internal.constants import CHECKPOINT_MANAGER_SNAPSHOT_FILENAME

    assert ray_private.CHECKPOINT_LIST == CHECKPOINT_MANAGER_SNAPSHOT_FILENAME


class TwoWorkers:
    """Room for two; grows when asked to."""

    grows = False

    def workers(self, held: Held) -> int:
        self.held = held
        return 2

    def may_grow(self) -> bool:
        return self.grows


def test_an_elastic_job_has_as_many_workers_as_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Breaks workers.count=1-8: the job would take Ray Train's count, and wait for CPUs that others hold."""
    from ray.train.v2._internal.execution.scaling_policy import ElasticScalingPolicy, NoopDecision

    monkeypatch.setattr(ElasticScalingPolicy, "_maybe_send_resource_request", lambda self: None)
    held = [("node", {"CPU": 1.0})]
    monkeypatch.setattr(ray_private, "held_by_this_actor", lambda: held)
    room = TwoWorkers()
    scaling = ScalingConfig(num_workers=(1, 8), resources_per_worker={"CPU": 1.0})  # type: ignore[arg-type]
    policy = ray_private._scaling_policy(scaling, room)
    assert policy.make_decision_for_non_running_worker_group().num_workers == 2
    assert room.held == held, "while it may have the workers that failed"
    running = SimpleNamespace(num_workers=1, start_time=time.monotonic() - 1e6)
    assert isinstance(policy.make_decision_for_running_worker_group(running, None), NoopDecision)
    room.grows = True
    assert policy.make_decision_for_running_worker_group(running, None).num_workers == 2
    running.num_workers = 3
    policy._latest_monitor_time = float("-inf")
    assert isinstance(policy.make_decision_for_running_worker_group(running, None), NoopDecision), "never to fewer"


def test_what_an_actor_holds_is_known(here: str) -> None:
    """Breaks elastic jobs that lost a worker: they would wait for what the others of their own hold."""

    @ray.remote(num_cpus=0)
    class Controller:
        def held(self) -> tuple[Held, Held]:
            before = ray_private.held_by_this_actor()
            ray.get(ray.util.placement_group([{"CPU": 1.0}]).ready())
            return before, ray_private.held_by_this_actor()

    others = ray.util.placement_group([{"CPU": 1.0}])
    ray.get(others.ready())
    before, after = ray.get(Controller.remote().held.remote())
    assert before == [] and after == [(ray.nodes()[0]["NodeID"], {"CPU": 1.0})]
    ray.util.remove_placement_group(others)


@pytest.mark.parametrize("alone", [True, False])
def test_the_trainer_starts_nothing_idle_and_leaves_ctrl_c_to_us(alone: bool, tmp_path: Path) -> None:
    """Breaks Ctrl-C's last checkpoint; ends a run of its own Ray 12 s late; elastic jobs, as above."""
    from ray.train.v2._internal.callbacks import datasets, placement_group_callback
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    kind = ray_private.torch_trainer(alone, TwoWorkers())
    assert issubclass(kind, DataParallelTrainer)
    for name in ("_create_default_callbacks", "_register_sigint_handler", "_initialize_and_run_controller"):
        assert hasattr(DataParallelTrainer, name) and f"self.{name}(" in inspect.getsource(DataParallelTrainer)
    assert "scaling_policy=" in inspect.getsource(DataParallelTrainer.fit)
    trainer = kind(
        lambda settings: None,
        scaling_config=ScalingConfig(num_workers=1),
        run_config=RunConfig(name="x", storage_path=str(tmp_path), checkpoint_config=CheckpointConfig(num_to_keep=2)),
    )
    kinds = [type(callback) for callback in trainer._create_default_callbacks()]
    assert datasets.DatasetsCallback not in kinds and kinds
    assert (placement_group_callback.PlacementGroupCleanerCallback in kinds) is not alone


def test_what_ray_prints_of_the_dead_is_left_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks the console of a run that loses nodes: a notice for each process between our lines."""
    from ray._private import ray_logging
    from ray._private.worker import print_to_stdstream

    for printed in (ray_logging.stdout_deduplicator, ray_logging.stderr_deduplicator):
        monkeypatch.setattr(printed, "skip_re", None)
    ray_private.leave_out("marked dead")
    ray_private.leave_out("kept")  # the first pattern stays, as a user's own does
    for line in ("a node has been marked dead", "kept"):
        print_to_stdstream({"lines": [line], "pid": "raylet", "is_err": False}, ignore_prefix=False)
    out = capsys.readouterr().out
    assert "kept" in out and "dead" not in out


def test_a_ray_of_our_own_ends_at_once(here: str) -> None:
    """Breaks the end of every run on a Ray of its own: slow, or with files and processes left. Ends this file's Ray."""
    session, pids = ray_private.own_session()
    assert (session / "logs").is_dir() and len(pids) >= 2
    assert all(os.path.exists(f"/proc/{pid}") for pid in pids)
    ray_private.shutdown_at_once()
    assert not ray.is_initialized()
    alive = [pid for pid in pids if os.path.exists(f"/proc/{pid}") and "Z" not in _state(pid)]
    assert not alive


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_ray_is_started_with_a_script_for_its_workers_and_without_what_only_clusters_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Breaks forked workers, which would then start as Ray starts them."""
    script = Path(ray_private.worker_script())
    assert script.is_file() and "exec_worker" in script.read_text()
    from ray._private import parameter, services
    from ray._private.node import Node

    assert "setup_worker_path" in inspect.signature(services.start_raylet).parameters
    before, start, serves = parameter.RayParams, inspect.getsource(Node), Node.start_api_server
    with ray_private.starting(Path("other.py"), dashboard=False):
        given = parameter.RayParams(num_cpus=1)
        without = Node.start_api_server
    assert (given.setup_worker_path, given.include_log_monitor, given.no_monitor) == ("other.py", False, True)
    assert without is not serves
    with ray_private.starting(Path("other.py"), dashboard=True):
        assert not parameter.RayParams().no_monitor and Node.start_api_server is serves
    assert parameter.RayParams is before and Node.start_api_server is serves
    assert "not self._ray_params.no_monitor" in start and "if self._ray_params.include_log_monitor" in start


def test_a_method_that_is_not_to_be_called_again(here: str) -> None:
    class Counts:
        def plain(self) -> None: ...

        @ray_private.once
        def report(self) -> int:
            return 1

    made = ray.remote(num_cpus=0, max_restarts=1, max_task_retries=-1)(Counts)
    retries = made.__ray_metadata__.method_meta.max_task_retries
    assert retries == {"report": 0}
    assert ray.get(made.remote().report.remote()) == 1
