"""Runs at a URI on Ray: killed whole, on a bad network, on machines that share no disk."""

import re
import shutil
import subprocess
import sys
import time

import pytest

from apex_ray.cli import main
from apex_ray.learner.checkpoint import load_checkpoint
from apex_ray.run.training import train
from tests.apex_ray.runs import cartpole
from tests.cluster.heads import SLOW_CARTPOLE, Head, kill_family
from tests.s3 import BUCKET, BadNetwork, s3_server
from trainkit.run_record import state_of
from trainkit.runs import open_run
from trainkit.storage import Store, kept_at

pytestmark = pytest.mark.timeout(300)
SETTINGS = (
    "actors.count=1", "replay.min_transitions=200", "evaluation.every_s=1", "evaluation.episodes=2",
    "evaluation.video=false", "checkpoint.every_s=1", "stop.evaluation_return=null",
)  # fmt: skip
SENT_S = 120.0  # until what a test waits for is at the URI


@pytest.fixture(scope="module")
def s3():
    with s3_server() as server:
        yield server


@pytest.fixture
def runs(s3, monkeypatch, request, tmp_path):
    """A folder of the bucket for this test, as this process finds it with a cache of its own."""
    for name, value in {**s3.environment, "XDG_CACHE_HOME": str(tmp_path / "here")}.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{request.node.name}"


def sent(store, updates, wanted, process, out):
    """Wait until a whole checkpoint of so many updates is there, and files with each of `wanted` in their names; `out`
    is the file of what the process prints.
    """
    until, names = time.monotonic() + SENT_S, ""
    while time.monotonic() < until and process.poll() is None:
        names = "\n".join(store.files())
        enough = any(int(number) >= updates for number in re.findall(r"/update-(\d+)/manifest.json", names))
        if enough and all(part in names for part in wanted):
            return names
        time.sleep(0.2)
    raise AssertionError(f"not all there (exit code {process.poll()}): {names}\n{out.read_text()}")


def test_killed_whole_it_goes_on_where_nothing_of_it_is(runs, tmp_path, monkeypatch, capsys):
    words = [*SETTINGS, "checkpoint.replay=true", f"runs_dir={runs}"]
    out = tmp_path / "out.txt"
    with out.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "apex_ray", "train", "cartpole", *words],
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        names = sent(Store(runs), 100, ("best/manifest.json", "shard-0/manifest.json", "metrics.jsonl"), process, out)
    finally:
        kill_family(process.pid)
        process.wait()
    uri = f"{runs}/{names.partition('/')[0]}"
    shutil.rmtree(tmp_path / "here")
    run = open_run(uri)
    before = load_checkpoint(run)
    assert before.counters.updates >= 100 and before.counters.best_return is not None
    assert not list(run.glob("replay/*/segments-*")), "who only reads a run fetches no replay"
    more = before.counters.updates + 100
    assert main(["train", "--resume", f"{runs}/latest", f"stop.after_updates={more}"]) == 0
    out = capsys.readouterr().out
    assert f"going on from {before.path.name}" in out and "replay-0 goes on with" in out, out
    shutil.rmtree(tmp_path / "here")
    for which in ("best", "latest"):
        assert main(["evaluate", uri, "--episodes", "2", "--checkpoint", which]) == 0
    assert load_checkpoint(open_run(uri)).counters.updates >= more


def test_a_bad_network_does_not_hold_the_run_up_and_leaves_nothing_half_written(s3, runs, tmp_path, monkeypatch, capfd):
    """Of all requests none comes through until the user is told, then half of them do, and late."""
    reached, told = {}, []
    with BadNetwork(s3) as network:
        monkeypatch.setenv("AWS_ENDPOINT_URL", network.environment["AWS_ENDPOINT_URL"])

        def worse_and_better(row):
            updates = row["updates"]
            told.append(capfd.readouterr().out)
            if not reached and updates > 50:
                network.failing, reached["away"] = 1.0, updates
            elif network.failing == 1.0 and updates > reached["away"] + 200 and "tries again" in "".join(told):
                network.failing, network.slow_s, reached["bad"] = 0.5, 0.05, updates
            return "bad" in reached and updates > reached["bad"] + 200

        config = cartpole(
            runs_dir=runs,
            actors={"count": 1},
            evaluation={"every_s": 1.0},
            checkpoint={"every_s": 1.0, "replay": True},
            stop={"after_s": 200.0},
        )
        outcome = train(config, on_row=worse_and_better)
    assert outcome.reason == "on_row asked to" and set(reached) == {"away", "bad"}
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.environment["AWS_ENDPOINT_URL"])
    out, here = "".join(told) + capfd.readouterr().out, outcome.run
    assert f"{kept_at(here)} can't be written: " in out
    assert "lacks the newest files" not in out
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    there = open_run(kept_at(here))
    assert load_checkpoint(there).counters == load_checkpoint(here).counters
    for name in ("metrics.jsonl", "evaluations.csv", "run.json", "replay/shard-0/manifest.json"):
        assert (there / name).read_bytes() == (here / name).read_bytes(), name
    assert state_of(there)[0] == "finished"


def test_machines_that_share_no_disk(s3, runs, tmp_path, monkeypatch):
    """The learner, the evaluator and the replay are on another machine than the run was started on."""
    here, there = {"XDG_CACHE_HOME": str(tmp_path / "here")}, {"XDG_CACHE_HOME": str(tmp_path / "there")}
    head = Head(tmp_path)
    on_head = (*SLOW_CARTPOLE, *SETTINGS, f"cluster.address={head.address}", "cluster.learner_labels={place: there}")
    with head.plain(2, **here, **s3.environment), head.node(2, None, "place=there", **there, **s3.environment):
        code, out = head.run(
            "apex-ray",
            "train",
            *on_head,
            f"runs_dir={runs}",
            "learner.threads=1",
            "stop.after_updates=100",
            "checkpoint.replay=true",
            **here,
        )
        assert code == 0, out
        (name,) = Store(runs).folders()
        uri = f"{runs}/{name}"
        files = set(Store(uri).files())
        newest = sorted(file for file in files if "update-" in file and file.endswith("manifest.json"))[-1]
        assert {"run.json", "metrics.jsonl", "checkpoints/best/manifest.json", "replay/shard-0/manifest.json"} <= files
        assert not list((tmp_path / "here").rglob("checkpoints/update-*")), "the learner's machine has them"
        assert list((tmp_path / "there").rglob(newest)) and not list((tmp_path / "there").rglob("tensorboard"))
        more = int(newest.split("update-")[1].split("/")[0]) + 100
        code, out = head.run("apex-ray", "train", "--resume", uri, f"stop.after_updates={more}", **here)
        assert code == 0 and f"going on from {newest.split('/')[1]}" in out and "replay-0 goes on with" in out, out
    run = open_run(uri)
    assert load_checkpoint(run).counters.updates >= more
    assert f"after_updates: {more}" in (load_checkpoint(run).path / "config.yaml").read_text()
