"""Mistakes that need the real environment or files to be found: one clear message, exit code 2, before Ray starts."""

from pathlib import Path

import numpy as np
import pytest

from apex_ray.agent.build import build_agent
from apex_ray.cli import main
from apex_ray.config.load import load
from apex_ray.learner.checkpoint import save_best, save_checkpoint
from apex_ray.learner.learner import Learner
from apex_ray.types import Counters, EnvSpec
from trainkit.config import to_yaml
from trainkit.runs import create_run


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("cartpole env.id=CartPoel-v1", ["env.id = 'CartPoel-v1'", "Did you mean 'CartPole-v1'?"]),
        ("pong env.id=ALE/Pongg-v5", ["'ALE/Pongg-v5' is no game", "Did you mean 'ALE/Pong-v5'?"]),
        ("pong env.id=Pong", ["Did you mean 'ALE/Pong-v5'?"]),
        ("gym env.id=Pendulum-v1", ["has actions Box", "expected Discrete"]),
        ("cartpole learner.batch_size=100000", ["learner.batch_size", "100000", "replay.capacity_transitions"]),
        ("cartpole learner.batch_size=5000", ["learner.batch_size", "5000", "replay.min_transitions"]),
        ("cartpole replay.insert_tolerance_transitions=3", ["insert_tolerance_transitions = 3 would deadlock"]),
        ("cartpole actors.chunk_transitions=2", ["td.n_step = 3", "actors.chunk_transitions = 2"]),
        ("cartpole actors.envs_per_actor=5000", ["holds less than two chunks"]),
        ("cartpole actors.groups=3", ["envs_per_actor must be a multiple of groups", "command line"]),
        ("pong replay.capacity_transitions=2000000000", ["needs", "GiB", "at most", "fit"]),
        ("pong replay.max_bytes=1000000", ["at most", "fit"]),
        ("cartpole learner.device=cuda:7", ["learner.device = 'cuda:7'"]),
        ("cartpole learner.device=tpu", ["learner.device = 'tpu'", "expected auto, cpu or cuda"]),
        ("cartpole network.torso=conv", ["network.torso is conv", "CartPole-v1"]),
        ("pong env.image_size=20", ["frames of (20, 20) are too small"]),
        ("cartpole runs_dir=/proc/x", ["/proc/x", "cannot be written"]),
        ("cartpole cluster.address=127.0.0.1:1", ["cluster.address = '127.0.0.1:1' can't be reached"]),
        ("cartpole env.import_modules=[no_such_module]", ["no module 'no_such_module'"]),
    ],
)
def test_a_wrong_setting_exits_2_with_one_line(words, parts, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *words.split()]) == 2
    error = capsys.readouterr().err
    assert error.count("error: ") == 1 and "Traceback" not in error
    for part in parts:
        assert part in error
    if "can't be reached" not in error:
        assert not Path("runs").exists(), "nothing is left behind"


SPEC = EnvSpec.of_frames("CartPole-v1", (4,), "float32", 1, 2, 1)


def saved_run(tmp_path, *overrides):
    config = load("cartpole", overrides).config
    run = create_run(tmp_path, "cartpole", to_yaml(config))
    learner = Learner(build_agent(config, SPEC), config)
    save_checkpoint(run, Counters(updates=10), *learner.state(), keep=2)
    save_checkpoint(run, Counters(updates=20), *learner.state(), keep=2)
    save_best(run, Counters(updates=10), learner.state()[0])
    return run


def broken(path, how):
    if how == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "gone":
        path.unlink()
    else:
        path.write_bytes(b"\x80\x04garbage that is no checkpoint")


@pytest.mark.parametrize("how", ["cut", "gone", "garbage"])
@pytest.mark.parametrize("name", ["online.safetensors", "optimizer.safetensors", "counters.json", "manifest.json"])
def test_no_checkpoint_that_can_be_used(name, how, tmp_path, capsys):
    run = saved_run(tmp_path)
    for folder in ("update-000000010", "update-000000020"):
        broken(run / "checkpoints" / folder / name, how)
    assert main(["train", "--resume", str(run)]) == 2
    error = capsys.readouterr().err
    assert "no checkpoint can be used to go on from: " in error
    assert f"update-000000020: {name} " in error and f"update-000000010: {name} " in error
    assert error.count("error: ") == 1 and "Traceback" not in error


def test_a_damaged_best_is_named_when_evaluating(tmp_path, capsys):
    run = saved_run(tmp_path)
    broken(run / "checkpoints" / "best" / "online.safetensors", "cut")
    assert main(["evaluate", str(run)]) == 2
    error = capsys.readouterr().err
    assert "best is damaged (online.safetensors is not as it was written" in error
    assert "the others are update-000000010, update-000000020" in error


def test_a_checkpoint_of_another_network(tmp_path, capsys):
    run = saved_run(tmp_path)
    assert main(["evaluate", str(run), "network.hidden=7"]) == 2
    assert "does not fit the configured network" in capsys.readouterr().err
    assert main(["train", "--resume", str(run), "network.hidden=7"]) == 2
    assert "network.hidden 128 -> 7" in capsys.readouterr().err


def test_unknown_checkpoints_are_listed(tmp_path, capsys):
    assert main(["evaluate", str(saved_run(tmp_path)), "--checkpoint", "update-000000030"]) == 2
    assert "expected one of best, latest, update-000000010, update-000000020" in capsys.readouterr().err


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    run = saved_run(tmp_path)
    learner = Learner(build_agent(load("cartpole").config, SPEC), load("cartpole").config)
    learner.online.requires_grad_(False)
    save_checkpoint(run, Counters(updates=30), *learner.state(), keep=2)
    names = sorted(p.name for p in (run / "checkpoints").iterdir())
    assert names == ["best", "update-000000020", "update-000000030"]
    assert np.all([p.is_dir() for p in (run / "checkpoints").iterdir()])
