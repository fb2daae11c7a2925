"""Real Ray: what happens when an environment, a process or a node fails, and when a run is interrupted."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import ray

from apex_ray.learner.checkpoint import load_checkpoint
from apex_ray.run.training import train
from tests.apex_ray.runs import cartpole, new_run, rows_of
from trainkit.errors import UserError

# Each starts a Ray of its own: seconds on an idle machine, a minute or two on a busy one.
pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"id": "apex-tests/Raises-v0"}, r"actor \d failed: RuntimeError: boom at step 7 .*fakes\.py:\d+"),
        ({"id": "apex-tests/RaisesOnReset-v0"}, "RaisesOnReset"),
    ],
)
def test_an_environment_that_raises_ends_the_run_with_its_own_error(tmp_path, env, message):
    config = cartpole(env={**env, "import_modules": ["tests.fakes"]})
    with pytest.raises(UserError, match=message):
        train(config, new_run(tmp_path, config), resume=False)
    assert not ray.is_initialized()


def worker(name):
    """Processes of this test's Ray whose title says `name`."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(name in part for part in process.cmdline()[:1]):
                found.append(process)
    return found


def test_a_lost_actor_is_replaced_and_a_crash_loop_ends_the_run(tmp_path):
    config = cartpole(cluster={"max_restarts": 1})
    run = new_run(tmp_path, config)
    killed, over = [], threading.Event()

    def kill():
        while len(killed) < 2 and not over.is_set():
            time.sleep(0.2)
            rows = rows_of(run)
            if rows and rows[-1]["updates"] > 20 and rows[-1]["restarts"] == len(killed):
                victims = [p for p in worker("ActorNode.run") if p.pid not in killed]
                if len(victims) == 2:
                    killed.append(victims[0].pid)
                    victims[0].kill()

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(UserError, match=r"actor \d lost its process .*max_restarts = 1.*--resume"):
        train(config, run, resume=False)
    over.set()
    thread.join()
    assert len(killed) == 2
    rows = rows_of(run)
    assert max(r["restarts"] for r in rows) == 1
    assert load_checkpoint(run).counters.updates > 20, "what was learned is kept"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ReplayNode", "replay-0"),
        ("LearnerNode", "the learner"),
        ("WeightsNode", "the weights node"),
        ("MetricsNode", "the metrics node"),
    ],
)
def test_a_lost_node_that_is_not_replaced_ends_the_run_is_named_and_says_how_to_go_on(tmp_path, name, told):
    run = new_run(tmp_path, config := cartpole(checkpoint={"every_s": 1.0}))
    with (
        after_a_checkpoint(run, name, psutil.Process.kill),
        pytest.raises(UserError, match=rf"^{told} lost its process.*--resume"),
    ):
        train(config, run)
    assert load_checkpoint(run)


def test_a_run_that_stands_still_ends_and_says_who_does_not_answer(tmp_path):
    """A shard that neither answers nor dies."""
    run = new_run(tmp_path, config := cartpole(cluster={"stall_s": 4.0}, checkpoint={"every_s": 1.0}))
    with (
        after_a_checkpoint(run, "ReplayNode", psutil.Process.suspend),
        pytest.raises(UserError, match=r"replay-0 ha\w+ not answered for 4 s \(cluster\.stall_s\).*--resume"),
    ):
        train(config, run)
    assert load_checkpoint(run)


@contextlib.contextmanager
def after_a_checkpoint(run, name, do):
    """Beside the block: `do` something to the processes called `name`, once the run has written a checkpoint."""
    over = threading.Event()

    def wait():
        while not over.wait(0.2):
            if list((run / "checkpoints").glob("update-*")):
                for process in worker(name):
                    do(process)
                return

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def stopped_by(number, process, tmp_path, updates):
    """The updates in the checkpoint of a run that got a signal, as all its processes did, after so many updates."""
    run = None
    while process.poll() is None:
        time.sleep(0.2)
        run = next(tmp_path.glob("*"), None)
        if run and any(row["updates"] > updates for row in rows_of(run)):
            break
    os.killpg(process.pid, number)
    output, _ = process.communicate()
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert not list(Path("/tmp/ray").glob(f"session_*_{process.pid}")), "files of its Ray are left"
    reached = load_checkpoint(run).counters.updates
    assert reached > updates
    return run, reached


def test_ctrl_c_and_sigterm_stop_with_a_checkpoint_and_resume_goes_on(tmp_path):
    command = [sys.executable, "-m", "apex_ray", "train"]
    overrides = ["actors.count=1", f"runs_dir={tmp_path}", "replay.min_transitions=200", "evaluation.video=false"]
    overrides += ["replay.frames=learner", "checkpoint.replay=true"]  # the learner's copy is filled anew from it

    def started(*words):
        return subprocess.Popen(
            [*command, *words],
            # A home that can't be written, not even by root: neither Ray's token nor a cache has its usual place.
            env={**os.environ, "HOME": "/dev/null"},
            stdout=subprocess.PIPE,
            text=True,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    # A terminal sends Ctrl-C to every process of the group, Ray's too, and `timeout` SIGTERM.
    process = started("cartpole", *overrides, "report.every_s=0.5")
    run, updates = stopped_by(signal.SIGINT, process, tmp_path, 5)
    stopped_by(signal.SIGTERM, started("--resume", str(run)), tmp_path, updates)
