"""A head of `apex-cluster up` from its start to its end, beside another one."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from cluster.local_head import Head as LocalHead
from cluster.local_head import down
from cluster.ports import Ports
from cluster.sessions import runs
from tests.cluster.heads import Head

CHANGE_VERSION = """
import json, sys, ray
from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put
ray.init(address=sys.argv[1])
metadata = json.loads(_internal_kv_get("CLUSTER_METADATA", namespace="cluster"))
metadata["ray_version"] = sys.argv[2]
_internal_kv_put("CLUSTER_METADATA", json.dumps(metadata), overwrite=True, namespace="cluster")
"""


def test_from_up_to_down(tmp_path: Path, head: Head) -> None:
    other = Head(tmp_path)
    code, out = other.up("--cpus", "1")
    try:
        assert code == 0, out
        found = re.search(r"^Grafana +(\S+) \(apex.json, lstm.json, wavenet.json\)$", out, re.MULTILINE)
        assert found, out
        boards = Path(found[1]) / "dashboards"
        assert (boards / "apex.json").exists() and (boards / "default_grafana_dashboard.json").exists()
        code, out = other.up()
        assert code == 2 and out.startswith("error: a head runs already") and "apex-cluster down" in out
        _down_asks_while_a_job_runs(other, tmp_path)
        _a_run_on_another_version_of_ray(other)
        mine = [p for p in psutil.process_iter() if re.search(rf"[:=]{other.gcs}\b", " ".join(_words(p)))]
        assert mine
    finally:
        code, out = other.run("apex-cluster", "down", "--force")
    assert code == 0 and other.url in out and "long: STOPPED" in out
    assert (tmp_path / "saved").exists(), "a job is asked to end before its head is"
    assert not list(Path(other.sessions.name).glob("ray/session_*")), "files of its session are left"
    assert not [process for process in mine if runs(process)]
    assert head.run("apex-cluster", "list")[0] == 0, "the other one goes on"
    code, out = other.run("apex-cluster", "down")
    assert code == 2 and "no head" in out


LEAVES_CHILDREN = """
import subprocess, sys
for k in range(2):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)", sys.argv[1]], stdin=subprocess.DEVNULL)
"""


@pytest.mark.parametrize("gone", [True, False])
def test_what_a_head_that_died_has_started_ends_with_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    """`gone`: nobody waits for it any more, else it is a zombie."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    session = tmp_path / "session_1"
    (session / "logs").mkdir(parents=True)
    words = [sys.executable, "-c", LEAVES_CHILDREN, f"{session}/logs"]
    leader = subprocess.Popen(words, start_new_session=True)
    head = LocalHead(leader.pid, psutil.Process(leader.pid).create_time(), Ports())
    while head.process is not None:
        time.sleep(0.05)
    if gone:
        leader.wait()
    children = [process for process in head.family if process.pid != leader.pid]
    monkeypatch.setattr(psutil.Process, "cmdline", refusing_first(psutil.Process.cmdline))
    down(head)
    assert len(children) == 2 and not any(map(runs, children)) and not session.exists()
    leader.wait()
    assert head.family == LocalHead(psutil.Process().pid, 0.0, Ports()).family == []


def refusing_first(cmdline: Callable[[psutil.Process], list[str]]) -> Callable[[psutil.Process], list[str]]:
    """A process that ends while it is looked at is no reason to look at no other."""
    looked = list[int]()

    def refused(self: psutil.Process) -> list[str]:
        looked.append(self.pid)
        if len(looked) == 1:
            raise psutil.NoSuchProcess(self.pid)
        return cmdline(self)

    return refused


def _a_run_on_another_version_of_ray(head: Head) -> None:
    environment = {**head.environment, "RAY_AUTH_MODE": "token"}
    subprocess.run([sys.executable, "-c", CHANGE_VERSION, head.address, "2.50.0"], env=environment, check=True)
    code, out = head.run("apex-ray", "train", "cartpole", f"cluster.address={head.address}")
    assert code == 2 and "Traceback" not in out and out.count("error: ") == 1, out
    assert "runs Ray 2.50.0 on Python" in out and "and this is Ray 2." in out and "the same on both sides" in out


def _down_asks_while_a_job_runs(head: Head, folder: Path) -> None:
    saves = f"trap 'touch {folder}/saved; exit' TERM; touch {folder}/runs; while true; do sleep 0.1; done"
    submit = ("apex-cluster", "submit", "--name", "long", "--no-follow", "--", "sh", "-c", saves)
    (folder / "empty").mkdir()
    code, out = head.run(*submit, cwd=folder / "empty")
    assert code == 0, out
    while not (folder / "runs").exists():
        time.sleep(0.05)
    code, out = head.run("apex-cluster", "down")
    assert code == 2 and out.count("\n") == 1, out
    assert "has 1 job (long); end them with apex-cluster stop JOB, or insist with apex-cluster down --force" in out
    assert head.run("apex-cluster", "list")[0] == 0, "the head goes on"


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
