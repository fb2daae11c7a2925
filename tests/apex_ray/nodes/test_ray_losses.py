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
from benchmarks.audit import Collector, audit
from tests.apex_ray.runs import cartpole, new_run, rows_of
from tests.fakes import SlowCartPole
from trainkit.errors import UserError

# Each starts a Ray of its own: seconds on an idle machine, a minute or two on a busy one.
pytestmark = pytest.mark.timeout(300)


def test_an_environment_that_raises_ends_the_run_with_its_own_error(tmp_path):
    config = cartpole(env={"id": "apex-tests/Raises-v0", "import_modules": ["tests.fakes"]})
    with pytest.raises(UserError, match=r"actor \d failed: RuntimeError: boom at step 7 .*fakes\.py:\d+"):
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


ROLES = {
    "LearnerNode": "the learner",
    "ReplayNode": "replay-0",
    "WeightsNode": "the weights node",
    "MetricsNode": "metrics",
    "EvaluatorNode": "the evaluator",
    "InferenceNode": "the inference node",
}


@pytest.mark.timeout(600)
def test_every_part_may_die_once_and_the_run_goes_on(tmp_path, capfd):
    """One after the other, both shards too; after each the learner makes hundreds of updates more. No step is stored
    twice, and only those are missing that a shard had in no snapshot yet.
    """
    config = cartpole(
        agent="benchmarks.audit:MarkedAgent",
        actors={"inference": "central"},
        replay={"shards": 2, "capacity_transitions": 200_000},
        evaluation={"every_s": 1.0},
        checkpoint={"every_s": 1.0, "replay": True},
        report={"every_s": 0.5},
        stop={"after_updates": None, "after_s": 500.0},
    )
    # Of several processes the one that was started first dies: of two shards, the one that did not die before.
    run, rows, kinds = new_run(tmp_path, config), [], [*ROLES, "ReplayNode"]
    left = list(kinds)
    enough, stopped = [50], list[float]()  # updates before the next is killed; when actors, with steps in hand, end
    collector, lost_at = Collector(run, tmp_path / "kept"), list[float]()  # lost_at: when shards were killed

    def next_one(row):
        rows.append(row)
        collector.look()
        if row["updates"] < enough[0] or row["restarts"] < len(kinds) - len(left):
            return False
        if not left:
            stopped.append(time.time())
            return True
        kind = left.pop(0)
        min(worker(kind), key=lambda process: process.create_time()).kill()
        if kind == "ReplayNode":
            lost_at.append(time.time())
        enough[0] = row["updates"] + 100
        return False

    outcome = train(config, run, on_row=next_one)
    assert outcome.reason == "on_row asked to"
    assert rows[-1]["restarts"] == len(kinds)
    out = capfd.readouterr().out
    for name in (*ROLES.values(), "replay-1"):
        assert f"{name} lost its process, restart 1 of" in out
    assert "the learner goes on from update" in out
    frames = [row["frames"] for row in rows]
    assert frames == sorted(frames), "counts of frames never go back"
    assert max(b["updates"] - a["updates"] for a, b in zip(rows[1:], rows, strict=False)) < 2_000
    collector.look()
    found = audit(tmp_path / "kept")
    assert found.twice == 0 and found.steps > 1_000
    unexplained = [
        gap for gap in found.gaps if gap[2] < stopped[0] - 5 and not any(at - 10 < gap[2] < at + 5 for at in lost_at)
    ]
    assert not unexplained, (unexplained, lost_at)


@pytest.mark.parametrize("name", ["ReplayNode", "MetricsNode"])
def test_a_part_that_is_lost_too_often_ends_the_run_is_named_and_says_how_to_go_on(tmp_path, name):
    config = cartpole(checkpoint={"every_s": 1.0}, cluster={"max_restarts": 0})
    run = new_run(tmp_path, config)
    with (
        after_a_checkpoint(run, name, psutil.Process.kill),
        pytest.raises(UserError, match=rf"^{ROLES[name]} lost its process .*max_restarts = 0.*--resume"),
    ):
        train(config, run)
    assert load_checkpoint(run)


def test_a_learner_that_is_killed_each_time_it_starts_ends_the_run(tmp_path):
    """As by a machine without memory for it."""
    config, over, killed = cartpole(), threading.Event(), set()

    def kill():
        while not over.wait(0.02):
            for process in worker("LearnerNode"):
                killed.add(process.pid)
                process.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        with pytest.raises(
            UserError, match=r"^the learner lost its process twice in a row before it had done any work"
        ):
            train(config, new_run(tmp_path, config))
    finally:
        over.set()
        thread.join()
    assert len(killed) >= 2


class HangsWhile(SlowCartPole):
    """While there is a file."""

    def __init__(self, file):
        super().__init__()
        self._file = Path(file)

    def step(self, action):
        while self._file.exists():
            time.sleep(0.1)
        return super().step(action)


def test_what_hangs_is_replaced_and_its_stacks_are_kept(tmp_path, capfd):
    """A shard that neither answers nor dies, and then an environment."""
    hangs = tmp_path / "hangs"
    config = cartpole(
        env={"make": f"{__name__}:HangsWhile", "kwargs": {"file": str(hangs)}, "step_limit_s": 200.0},
        actors={"count": 1},
        cluster={"stall_s": 8.0},
        checkpoint={"every_s": 1.0},
        report={"every_s": 0.5},
        stop={"after_updates": None, "after_s": 250.0},
    )
    run, before, told = new_run(tmp_path, config), [], []

    def replaced(row):
        told.append(capfd.readouterr().out)
        if row["restarts"] and not before and row["updates_per_s"]:
            before.append(row["updates"])
            hangs.touch()
        if "actor 0 has not reported for" in "".join(told):
            hangs.unlink(missing_ok=True)
        return row["restarts"] == 2 and row["updates"] > before[0] + 50

    with after_a_checkpoint(run, "ReplayNode", psutil.Process.suspend):
        outcome = train(config, run, on_row=replaced)
    assert outcome.reason == "on_row asked to"
    out = "".join(told)
    assert "replay-0 has not answered for 8 s (cluster.stall_s); its process is ended; stacks in " in out
    assert "replay-0 lost its process, restart 1 of" in out
    of_shard, *_, of_actor = (file.read_text() for file in sorted((run / "stalls").iterdir()))
    assert "replay-0\nit wrote no stacks within 3 s: it is stopped" in of_shard
    assert of_actor.startswith("actor 0\n") and " in step" in of_actor and "test_ray_losses.py" in of_actor


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
