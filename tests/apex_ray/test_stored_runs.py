"""Runs at a URI, in one process: a real S3 server, and machines that are folders for caches."""

import json

import pytest

from apex_ray.cli import main
from apex_ray.evaluation import evaluate_run
from apex_ray.learner.checkpoint import load_checkpoint, load_policy_weights
from apex_ray.policy import load_policy
from apex_ray.run.training import train
from tests.apex_ray.runs import cartpole
from tests.s3 import BUCKET, s3_server
from trainkit.errors import UserError
from trainkit.runs import open_run
from trainkit.storage import Store, kept_at, shown

SETTINGS = (
    "mode=serial", "actors.count=1", "actors.envs_per_actor=2", "replay.min_transitions=200", "learner.batch_size=16",
    "evaluation.episodes=2", "evaluation.video=false", "stop.evaluation_return=null", "learner.threads=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def s3():
    with s3_server() as server:
        yield server


@pytest.fixture
def machine(s3, tmp_path, monkeypatch):
    """Go on as on the machine of that name, which has nothing of what was done on others."""

    def on(name):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        return tmp_path / name

    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("APEX_RUNS_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    on("first")
    return on


@pytest.fixture
def runs(request):
    """A folder of the bucket for this test."""
    return f"s3://{BUCKET}/{request.node.name}"


def test_a_run_goes_on_bit_for_bit_on_a_machine_that_has_nothing_of_it(machine, runs, tmp_path):
    serial = {"mode": "serial", "actors": {"count": 1, "envs_per_actor": 2}}
    whole = train(cartpole(**serial, stop={"after_updates": 60}, runs_dir=str(tmp_path / "whole")))
    outcome = train(cartpole(**serial, stop={"after_updates": 30}, runs_dir=runs))
    uri = kept_at(outcome.run)
    assert uri == shown(outcome.run) == f"{runs}/{outcome.run.name}"
    elsewhere = machine("second")
    outcome = train(cartpole(**serial, stop={"after_updates": 60}, runs_dir=runs), uri, resume=True)
    assert elsewhere in outcome.run.parents and kept_at(outcome.run) == uri
    machine("third")
    run = open_run(uri)
    expected, found = load_checkpoint(whole.run), load_checkpoint(run)
    for kind in ("online", "target", "optimizer"):
        a, b = getattr(expected, kind), getattr(found, kind)
        assert a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a), kind
    starts = json.loads((run / "run.json").read_bytes())["starts"]
    assert [start["ended"]["state"] for start in starts] == ["finished", "finished"], "the end is sent, too"


def test_every_command_takes_the_uri_of_a_run(machine, runs, capsys, tmp_path):
    assert main(["train", "cartpole", *SETTINGS, "stop.after_updates=60", f"runs_dir={runs}"]) == 0
    out = capsys.readouterr().out
    (name,) = Store(runs).folders()
    uri = f"{runs}/{name}"
    assert f"run folder {uri}" in out
    for words in ("evaluate", "record", "plot", "train --resume"):
        assert f"{words} {uri}" in out, "the last lines can be typed anywhere"
    machine("second")
    assert main(["evaluate", uri, "--episodes", "2"]) == 0
    assert main(["evaluate", f"{runs}/latest", "--episodes", "2", "--checkpoint", "latest"]) == 0
    assert main(["plot", f"{runs}/cartpole"]) == 0
    assert main(["export", uri, "--format", "safetensors", "--out", str(tmp_path / "x.safetensors")]) == 0
    assert main(["record", uri, "--out", str(tmp_path / "x.mp4")]) == 0
    assert load_policy(uri).spec.env_id == "CartPole-v1"
    capsys.readouterr()
    assert main(["doctor", uri]) == 2 and f"{name}: " in capsys.readouterr().err
    assert main(["runs", runs]) == 0
    listed = capsys.readouterr().out
    assert name in listed and "finished" in listed and "60" in listed
    warm = cartpole(mode="serial", actors={"count": 1}, learner={"init_from": f"{uri}/checkpoints/best"})
    with pytest.raises(UserError, match=f"learner.init_from: no layer of torso in {uri}/checkpoints/best fits"):
        train(warm)


def test_runs_dir_in_the_environment(machine, runs, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("APEX_RUNS_DIR", runs)
    short = ["train", "cartpole", *SETTINGS, "stop.after_updates=20", "evaluation.final=false"]
    assert main(short) == 0
    (name,) = Store(f"{runs}/runs").folders()
    machine("second")
    assert kept_at(open_run("latest")) == f"{runs}/runs/{name}" == kept_at(open_run("cart"))
    assert main(["runs"]) == 0
    assert name in capsys.readouterr().out
    monkeypatch.delenv("APEX_RUNS_DIR")
    local = (tmp_path / "local").as_uri()
    assert main([*short, f"runs_dir={local}"]) == 0
    (run,) = (tmp_path / "local").iterdir()
    assert kept_at(run) is None and (run / "checkpoints").is_dir(), "a file:// URI is a folder"
    assert main(["evaluate", run.as_uri(), "--episodes", "1"]) == 0


def test_names_of_runs_that_are_not_there(machine, runs):
    config = cartpole(mode="serial", actors={"count": 1}, stop={"after_updates": 10}, evaluation={"final": False})
    names = [train(config.model_copy(update={"runs_dir": runs, "name": name})).run.name for name in ("ping", "pong")]
    for wrong, message in {
        f"{runs}/pang": rf"run folder '{runs}/pang' does not exist; expected .*Did you mean '{runs}/p[io]ng-",
        f"{runs}/p": rf"'{runs}/p' is how 2 runs begin: {runs}/p[io]ng-.*, {runs}/p[io]ng-.*; expected one of them, or",
        runs: rf"'{runs}' is no run folder: it has no config.yaml. It holds runs; the newest is 'p[io]ng-",
        f"{runs}/none/latest": rf"run folder '{runs}/none/latest' does not exist; .*'{runs}/none' holds no runs",
    }.items():
        with pytest.raises(UserError, match=message):
            open_run(wrong, "apex-ray")
    assert open_run(f"{runs}/latest").name == names[1]
    with pytest.raises(UserError, match=f"'{runs}/{names[0]}' is a run of apex-ray; expected one of apex-lstm"):
        open_run(f"{runs}/{names[0]}", "apex-lstm")


def test_mistakes_before_anything_starts(machine, capsys):
    for words, message in {
        "train cartpole runs_dir=s3://nowhere/runs": "error: runs_dir = 's3://nowhere/runs' can't be written: The sp",
        "train cartpole runs_dir=s4://bucket/runs": "error: runs_dir: 's4://bucket/runs': unknown scheme 's4'; ex",
        "train --resume s3://bucket/none": "error: run folder 's3://bucket/none' does not exist;",
    }.items():
        assert main(words.split()) == 2
        told = capsys.readouterr()
        assert told.err.startswith(message) and told.err.count("\n") == 1, told.err
        assert "starting" not in told.out
    with pytest.raises(UserError, match=r"train: run = 's3://bucket/x': expected resume=True, or .*config.runs_dir"):
        train(cartpole(), "s3://bucket/x")


def test_a_killed_run_goes_on_with_what_was_not_sent_yet(machine, runs, monkeypatch):
    """On the machine that has it; and from what was sent where another one went on meanwhile."""
    config = cartpole(
        mode="serial", actors={"count": 1}, stop={"after_updates": 20}, runs_dir=runs, evaluation={"final": False}
    )
    outcome = train(config)
    uri = kept_at(outcome.run)
    more = config.model_copy(update={"stop": config.stop.model_copy(update={"after_updates": 40})})
    with monkeypatch.context() as lost:
        lost.setattr("trainkit.sending.Sender._send_all", lambda self, at_once: None)
        train(more, uri, resume=True)
    machine("second")
    assert load_checkpoint(open_run(uri)).counters.updates == 20
    machine("first")
    assert load_checkpoint(open_run(uri)).counters.updates == 40
    machine("second")
    other = config.model_copy(update={"stop": config.stop.model_copy(update={"after_updates": 30})})
    train(other, uri, resume=True)
    machine("first")
    assert load_checkpoint(open_run(uri)).counters.updates == 30
    assert load_policy_weights(open_run(uri), "latest")[1].updates == 30
    assert evaluate_run(open_run(uri), config, "latest", 1, None).updates == 30
