"""Workers that are forks: what they share, what each has for itself, and that they need not be."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from apex_ray.site import IMPORTS as IMPORTS_OF_RUNS
from cluster import fork_server, fork_worker
from cluster.connect import Embedded, connected
from cluster.data_parallel import IMPORTS as IMPORTS_OF_JOBS
from cluster.forked import ForkServer, ahead, forks
from cluster.sessions import with_children

IMPORTS = ("apex_ray.nodes.processes", "numpy", "no_such_module")
PATIENCE_S = 60.0


class Worker:
    def has(self) -> dict[str, Any]:
        """What tells it from others, after it has drawn from what processes seed by themselves."""
        import random

        import numpy as np

        from apex_ray.nodes.processes import this_process

        parent = psutil.Process().parent()
        return {
            "server": parent.pid if parent is not None and "fork_server.py" in " ".join(parent.cmdline()) else None,
            "pid": os.getpid(),
            "drawn": (random.random(), float(np.random.random()), this_process().incarnation),
            "group": os.getpgrp(),
            "hears_children": signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL,
            "variables": {name: os.environ.get(name) for name in ("FORK_TEST", "OPENBLAS_NUM_THREADS")},
            "folder": os.getcwd(),
            "child": subprocess.run(["true"], check=False).returncode,
        }


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """The process number of the server of a Ray of this process's own, seen by a first worker."""
    os.environ["FORK_TEST"] = "handed on"
    try:
        with connected(None, Embedded(6, 2**27, imports=IMPORTS)):
            found = new_worker()[1]["server"]
            assert found is not None, "a worker that is no fork"
            yield found
    finally:
        del os.environ["FORK_TEST"]


def new_worker(**options: Any) -> tuple[Any, dict[str, Any]]:
    worker = ray.remote(num_cpus=0, **options)(Worker).remote()
    found: dict[str, Any] = ray.get(worker.has.remote())
    return worker, found


def test_each_worker_is_a_fork_and_a_process_of_its_own(server: int) -> None:
    workers = [new_worker() for _ in range(3)]
    for _, found in workers:
        assert found["server"] == server, "a fork, and of the same process"
        assert found["variables"] == {"FORK_TEST": "handed on", "OPENBLAS_NUM_THREADS": None}
        assert found["hears_children"] and found["child"] == 0
        assert found["folder"] == os.getcwd()
        assert found["group"] != os.getpgrp(), "Ray ends a worker by its group"
    drawn = [number for _, found in workers for number in found["drawn"]]
    assert len({*drawn}) == 9, "no two draw the same"


def test_the_end_of_a_worker_is_seen_and_its_successor_is_a_fork_too(server: int) -> None:
    worker, found = new_worker(max_restarts=1, max_task_retries=-1)
    os.kill(found["pid"], signal.SIGKILL)
    again = ray.get(worker.has.remote(), timeout=PATIENCE_S)
    assert again["pid"] != found["pid"] and again["server"] == server


def test_one_with_variables_of_its_own_has_them(server: int) -> None:
    _, found = new_worker(runtime_env={"env_vars": {"FORK_TEST": "of its own"}})
    assert found["server"] == server and found["variables"]["FORK_TEST"] == "of its own"


def test_one_that_is_set_up_otherwise_starts_as_ray_starts_it(server: int) -> None:
    otherwise = {"py_executable": f"{sys.executable} -B", "env_vars": {"FORK_TEST": "of its own"}}
    _, found = new_worker(runtime_env=otherwise)
    assert found["server"] is None and found["variables"]["FORK_TEST"] == "of its own"


def test_without_the_server_workers_start_as_ray_starts_them(server: int) -> None:
    psutil.Process(server).kill()
    _, found = new_worker()
    assert found["server"] is None and found["child"] == 0


def test_where_a_module_starts_a_thread_there_is_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """No fork would have the thread."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    server = ForkServer(("starts_a_thread",))
    try:
        assert server._process.wait(PATIENCE_S) == 1
    finally:
        server.end()


def is_there(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_it_ends_with_its_owner_and_leaves_no_folder() -> None:
    program = "from cluster.forked import ForkServer; import time; s = ForkServer(['json'])\n"
    program += "print(s._process.pid, s._folder, flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, folder = owner.stdout.readline().split()
        owner.kill()
    until = time.monotonic() + PATIENCE_S
    while (is_there(int(pid)) or Path(folder).exists()) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_there(int(pid)) and not Path(folder).exists()


def ours() -> set[int]:
    return {child.pid for child in psutil.Process().children() if is_there(child.pid)}


def test_a_server_is_of_one_ray_or_of_all_that_are_started_while_it_is_kept() -> None:
    before = ours()
    with forks(("json",)) as first, forks(("json",)) as second:
        assert first is not second
    assert ours() == before
    with ahead(("json",)):
        [started] = ours() - before
        with forks(("json",)) as first:
            assert first._process.pid == started
        with forks(("json",)) as second, forks(("os",)) as other:
            assert first is second is not other
        assert ours() - before == {started}
        psutil.Process(started).kill()
        first._process.wait(PATIENCE_S)
        with forks(("json",)) as third:
            assert third is not first and ours() - before == {third._process.pid}
        with ahead(("json",)), forks(("json",)) as fourth:
            assert fourth is third, "it is kept already"
    assert ours() == before


@pytest.mark.parametrize(("name", "value", "fits"), [
    ("FORK_TEST", "any", True), ("RAY_JOB_ID", "01000000", True), ("SDL_VIDEODRIVER", "dummy", True),
    ("OMP_NUM_THREADS", "77", False), ("PYTHONPATH", "/elsewhere", False), ("LD_PRELOAD", "lib.so", False),
    ("CUDA_VISIBLE_DEVICES", "1", False), ("PYTHONBREAKPOINT", "of.ray", True),
])  # fmt: skip
def test_imports_fit_where_what_they_read_is_as_it_was(name: str, value: str, fits: bool) -> None:
    assert fork_server.fits(dict(fork_server.VARIABLES))
    assert fork_server.fits({**fork_server.VARIABLES, name: value}) == fits


CONTEXT = {"command_prefix": [], "env_vars": {}, "py_executable": sys.executable, "java_jars": []}


@pytest.mark.parametrize(("words", "context", "asks"), [
    (["--language=PYTHON"], None, True), (["--language=JAVA"], None, False), ([], None, False),
    (["--language=PYTHON"], CONTEXT, True), (["--language=PYTHON"], CONTEXT | {"env_vars": {"A": "b"}}, True),
    (["--language=PYTHON"], CONTEXT | {"env_vars": {"A": "${B}"}}, False),
    (["--language=PYTHON"], CONTEXT | {"py_executable": "other"}, False),
    (["--language=PYTHON"], CONTEXT | {"command_prefix": ["cd /"]}, False),
])  # fmt: skip
def test_workers_of_python_that_need_variables_at_most_are_asked_for(
    words: list[str], context: dict[str, Any] | None, asks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a server that takes one request and says yes."""
    path, heard = str(tmp_path / "s"), list[dict[str, Any]]()
    monkeypatch.setenv(fork_worker.SERVER, path)
    given = ["worker.py", "--a=1", *words]
    if context is not None:
        given.append(f"--serialized-runtime-env-context={json.dumps(context)}")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                heard.append(fork_server._read(connection, []))
                if fork_server._is_wanted(connection):
                    connection.send(fork_worker.DONE)

        if asks:
            thread = threading.Thread(target=answer)
            thread.start()
        assert fork_worker.forked(given) == asks
        if asks:
            thread.join()
            [request] = heard
            assert request["words"] == ["worker.py", "--a=1"] and request["folder"] == os.getcwd()
            assert request["variables"] == {**os.environ, **(context or {}).get("env_vars", {})}
            for file in request["files"]:
                os.close(file)


@pytest.mark.parametrize(
    "imports", [IMPORTS_OF_RUNS, ("lstm.train", *IMPORTS_OF_JOBS), ("wavenet.train", *IMPORTS_OF_JOBS)]
)
def test_what_programs_import_starts_no_thread(imports: tuple[str, ...]) -> None:
    """Or there would be no forks of it, and nobody would notice but by the time."""
    with forks(imports) as server, socket.socket(socket.AF_UNIX) as asker:
        words = json.dumps({"variables": {**os.environ, "PYTHONPATH": "/elsewhere"}}).encode()
        asker.settimeout(PATIENCE_S)
        asker.connect(server._variables[fork_worker.SERVER])
        asker.sendall(len(words).to_bytes(4, "big") + words)
        assert asker.recv(1) == b"", "it has imported all, and refuses what does not fit"
        assert not server.has_ended


def test_who_asked_and_did_not_wait_gets_no_worker(tmp_path: Path) -> None:
    """It has started one in Ray's way meanwhile: there would be two."""
    made, script = tmp_path / "made", tmp_path / "worker.py"
    script.write_text(f"open({str(made)!r}, 'a').write('.')")
    with forks(("json",)) as server, pytest.MonkeyPatch.context() as patched:
        patched.setenv(fork_worker.SERVER, server._variables[fork_worker.SERVER])
        patched.setenv(fork_worker.OWN_SCRIPT, server._variables[fork_worker.OWN_SCRIPT])
        given = [str(script), f"{fork_worker.LANGUAGE}PYTHON"]
        os.kill(server._process.pid, signal.SIGSTOP)
        patched.setattr(fork_worker, "ANSWER_S", 0.2)
        assert not fork_worker.forked(given)
        os.kill(server._process.pid, signal.SIGCONT)
        patched.setattr(fork_worker, "ANSWER_S", PATIENCE_S)
        assert fork_worker.forked(given), "the next is served, after the one that has gone"
        until = time.monotonic() + PATIENCE_S
        while not made.exists() and time.monotonic() < until:
            time.sleep(0.01)
        while any(p.pid != server._process.pid for p in with_children(server._process.pid)):
            time.sleep(0.01)
        assert made.read_text() == "."


def test_a_server_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fork_worker.SERVER, "/nowhere/forks")
    assert not fork_worker.forked(["worker.py", "--language=PYTHON"])


def test_a_server_is_deaf_to_ctrl_c() -> None:
    server = ForkServer(["json"])
    try:
        mask = next(
            line for line in Path(f"/proc/{server._process.pid}/status").read_text().splitlines() if "SigBlk" in line
        )
        blocked = int(mask.split()[1], 16)
        assert all(blocked >> (number - 1) & 1 for number in (signal.SIGINT, signal.SIGTERM))
    finally:
        server.end()
