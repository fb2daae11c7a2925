"""Real Ray: a learner of two workers, which die in turn."""

import contextlib

import psutil
import pytest

from apex_ray.run.training import train
from tests.apex_ray.runs import cartpole, new_run, rows_of

pytestmark = pytest.mark.timeout(400)
LOSSES = [("WorkerNode", "kill"), ("LearnerNode", "kill"), ("WorkerNode", "suspend")]  # the last one hangs


def process_of(kind):
    """The process of this test's Ray that is a `kind`."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(kind in part for part in process.cmdline()[:1]):
                return process
    raise AssertionError(f"no process is a {kind}")


def test_two_workers_learn_over_two_shards_and_go_on_when_either_is_lost(tmp_path, capfd):
    """A lost worker costs no update: the first one's weights go on. Samples and updates keep the ratio that was asked
    for, which counts each batch once, however many draw its parts.
    """
    config = cartpole(
        learner={"workers": 2},
        replay={"shards": 2, "capacity_transitions": 50_000},
        checkpoint={"every_s": 1.0},
        cluster={"stall_s": 24.0},
        stop={"after_s": 300.0},
    )
    run, left, enough, at_loss = new_run(tmp_path, config), list(LOSSES), [100], list[float]()

    def next_one(row):
        if row["updates"] < enough[0] or row["restarts"] < len(LOSSES) - len(left):
            return False
        if not left:
            return True
        at_loss.append(row["updates"])
        kind, how = left.pop(0)
        getattr(process_of(kind), how)()
        enough[0] = row["updates"] + 150
        return False

    outcome = train(config, run, on_row=next_one)
    assert outcome.reason == "on_row asked to"
    out = capfd.readouterr().out
    assert "2 workers with 1 thread each" in out
    assert "learner worker 1 lost its process, restart 1 of" in out
    assert "learner worker 1 lost its process, restart 2 of" in out
    assert "the learner goes on from update" in out
    assert "learner worker 1 does not answer; its process is ended" in out
    rows = rows_of(run)
    first = [row["updates"] for row in rows if row["restarts"] < 2]
    assert first == sorted(first), "no update is lost with a worker that is not the first"
    last = rows[-1]
    assert last["updates"] > at_loss[-1] + 100
    learned = 16 * sum(max(b["updates"] - a["updates"], 0) for a, b in zip([{"updates": 0}, *rows], rows, strict=False))
    sampled = last["replay_ratio"] * (last["replay_transitions"] - config.replay.min_transitions)
    assert learned < 1.1 * sampled and sampled < 1.5 * learned, "a batch counts once, not for each worker"


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"learner": {"workers": 3}}, r"batch_size 16 can't be shared out equally by workers 3; the nearest is 15"),
        ({"learner": {"workers": 2}, "mode": "serial"}, r"mode serial is one process; expected 1"),
        ({"learner": {"workers": 2}, "replay": {"frames": "learner"}}, r"replay.frames learner is for one worker"),
    ],
)
def test_workers_that_can_t_be_are_refused(sections, says):
    with pytest.raises(ValueError, match=says):
        cartpole(**sections)
