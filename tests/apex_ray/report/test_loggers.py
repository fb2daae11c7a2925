"""Loggers beside the run folder, and hooks of `train`, in real runs of one process."""

import importlib
import threading
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from apex_ray import train
from apex_ray.report import loggers
from apex_ray.report.loggers import check_loggers
from tests.apex_ray.runs import cartpole, rows_of
from trainkit.errors import UserError

HERE = __name__


def config(tmp_path, *loggers, **stop):
    return cartpole(
        mode="serial",
        runs_dir=str(tmp_path),
        actors={"count": 1},
        stop=stop or {"after_updates": 40},
        report={"every_s": 0.05, "loggers": loggers},
        evaluation={"every_s": 1000.0, "episodes": 2, "envs": 2, "video": False},
    )


class Own:
    """Keeps what it is given."""

    note = "own at home"
    seen: ClassVar[list[tuple[object, ...]]] = []

    def __init__(self, run, settings, resume):
        self.seen.append(("begin", run, settings["env"]["id"], resume))

    def row(self, row):
        self.seen.append(("row", row["frames"], row["updates"]))

    def evaluation(self, result):
        self.seen.append(("evaluation", result.mean_return, result.frames))

    def checkpoint(self, folder, best):
        self.seen.append(("checkpoint", Path(folder).name, best, Path(folder).is_dir()))

    def close(self, failed):
        self.seen.append(("close", failed))


class Failing(Own):
    note = ""

    def row(self, row):
        raise OSError("no route to host")

    def evaluation(self, result):
        raise OSError("no route to host")


@pytest.fixture
def seen(monkeypatch):
    monkeypatch.setattr(Own, "seen", [])
    return Own.seen


def test_a_logger_of_ones_own_has_every_row_evaluation_and_checkpoint(tmp_path, seen, capsys):
    outcome = train(config(tmp_path, f"{HERE}:Own"))
    assert seen[0] == ("begin", outcome.run, "CartPole-v1", False) and seen[-1] == ("close", False)
    kinds = [event[0] for event in seen]
    assert [event[1:] for event in seen if event[0] == "row"] == [
        (row["frames"], row["updates"]) for row in rows_of(outcome.run)
    ]
    assert ("evaluation", outcome.last_return, rows_of(outcome.run)[-1]["frames"]) in seen
    assert ("checkpoint", "best", True, True) in seen and kinds.count("checkpoint") == 2
    assert "own at home" in capsys.readouterr().out
    train(config(tmp_path, f"{HERE}:Own", after_updates=60), outcome.run, resume=True)
    assert ("begin", outcome.run, "CartPole-v1", True) in seen


def test_a_logger_that_fails_is_told_once_and_the_run_goes_on(tmp_path, seen, capsys):
    outcome = train(config(tmp_path, f"{HERE}:Failing"))
    assert outcome.reason == "stop.after_updates = 40" and rows_of(outcome.run) and outcome.last_return
    assert capsys.readouterr().out.count("does not take it (OSError: no route to host); the run goes on") == 1
    assert ("close", False) in seen


@pytest.mark.parametrize(
    ("name", "part"), [("wadnb", "Did you mean 'wandb'"), ("nowhere:Logger", "no module 'nowhere'")]
)
def test_a_logger_that_is_not_there_is_refused_before_anything_starts(tmp_path, name, part):
    with pytest.raises(UserError) as info:
        train(config(tmp_path, name))
    assert part in str(info.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_library_that_is_missing_is_named_with_what_to_install(tmp_path, name, monkeypatch):
    monkeypatch.setitem(importlib.sys.modules, name, None)
    with pytest.raises(UserError, match=rf"^{name} is not installed; expected pip install 'apex-ray\[loggers\]'$"):
        check_loggers(config(tmp_path, name))


def test_wandb_writes_offline_what_the_run_says(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    outcome = train(config(tmp_path / "runs", "wandb"))
    assert "wandb offline: wandb sync " in capsys.readouterr().out
    (log,) = (outcome.run / "wandb").glob("offline-run-*/*.wandb")
    name = (outcome.run / "wandb_id").read_bytes()
    parts = [b"CartPole-v1", b"evaluations/mean", b"updates_per_s", name, outcome.run.name.encode(), b"best-" + name]
    deadline = time.monotonic() + 60.0  # the run waits for its loggers, but on a busy machine not for ever
    while (missing := [part for part in parts if part not in log.read_bytes()]) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not missing


def test_mlflow_holds_settings_metrics_and_the_best_checkpoint_over_a_resume(tmp_path, monkeypatch, capsys):
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    outcome = train(config(tmp_path, "mlflow"))
    assert f"mlflow at sqlite:///{tmp_path}/mlflow.db" in capsys.readouterr().out
    train(config(tmp_path, "mlflow", after_updates=60), outcome.run, resume=True)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("apex-ray").experiment_id])
    assert run.info.run_name == outcome.run.name and run.info.status == "FINISHED"
    assert run.data.params["env.id"] == "CartPole-v1" and run.data.params["td.n_step"] == "3"
    history = client.get_metric_history(run.info.run_id, "updates")
    assert [(m.step, m.value) for m in history] == [(r["frames"], r["updates"]) for r in rows_of(outcome.run)]
    assert history[-1].value >= 60 and run.data.metrics["evaluations/mean"] > 0
    best = client.list_artifacts(run.info.run_id, "checkpoints/best")
    assert "checkpoints/best/manifest.json" in [file.path for file in best]


def test_hooks_are_called_with_what_was_written(tmp_path):
    rows, evaluations, checkpoints = [], [], []
    hooks = {"on_row": rows.append, "on_evaluation": evaluations.append, "on_checkpoint": checkpoints.append}
    outcome = train(config(tmp_path), **hooks)
    assert [row["updates"] for row in rows] == [row["updates"] for row in rows_of(outcome.run)]
    assert [e.mean_return for e in evaluations] == [outcome.last_return]
    assert [folder.parent for folder in checkpoints] == [outcome.run / "checkpoints"] and checkpoints[0].is_dir()


def test_a_hook_that_returns_true_ends_the_run_as_a_limit_does(tmp_path):
    outcome = train(config(tmp_path, after_updates=10**6), on_row=lambda row: np.float64(row["updates"]) >= 20)
    assert outcome.reason == "on_row asked to" and outcome.last_return is not None
    assert 20 <= rows_of(outcome.run)[-1]["updates"] < 10**5
    assert list((outcome.run / "checkpoints").glob("update-*"))


class Hanging(Own):
    note = ""

    def row(self, row):
        threading.Event().wait()


def test_a_logger_that_hangs_starves_no_other(tmp_path, seen, monkeypatch):
    monkeypatch.setattr(loggers, "CLOSE_S", 1.0)
    train(config(tmp_path, f"{HERE}:Hanging", f"{HERE}:Own"))
    assert seen[-1] == ("close", False) and any(event[0] == "row" for event in seen)


def test_events_of_a_slow_logger_are_left_out_but_the_last_is_not(monkeypatch):
    gate, taken, said = threading.Event(), [], []

    class Slow(Own):
        note = ""

        def __init__(self):
            pass

        def row(self, row):
            gate.wait()
            taken.append(row)

        def close(self, failed):
            taken.append("closed")

    monkeypatch.setattr(loggers, "MAX_WAITING", 3)
    feed = loggers._Feed("slow", Slow(), said.append)
    for at in range(20):
        feed.put("row", at)
    feed.put("close", False)
    gate.set()
    feed.thread.join(30)
    assert taken[0] == 0 and taken[-1] == "closed" and 4 <= len(taken) <= 6
    assert said == ["report.loggers: slow does not take it (it is too slow, some events are left out); the run goes on"]


def test_a_logger_hears_of_an_error_and_one_that_hangs_holds_nothing_up(tmp_path, seen, monkeypatch):
    gone = threading.Event()
    monkeypatch.setattr(loggers, "CLOSE_S", 0.2)
    monkeypatch.setattr(Own, "row", lambda self, row: gone.wait())
    assert train(config(tmp_path, f"{HERE}:Own")).reason == "stop.after_updates = 40"
    gone.set()
    monkeypatch.undo()
    monkeypatch.setattr(Own, "seen", [])
    with pytest.raises(ZeroDivisionError):
        train(config(tmp_path, f"{HERE}:Own"), on_row=lambda row: 1 / 0)
    assert Own.seen[-1] == ("close", True)


def test_what_is_no_hook_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(UserError, match=r"train: on_row = 3: expected a function"):
        train(config(tmp_path), on_row=3)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("hook", ["on_row", "on_checkpoint"])
def test_a_hook_that_raises_ends_the_run_with_its_error_and_a_checkpoint(tmp_path, hook):
    def broken(given):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine") as info:
        train(config(tmp_path), **{hook: broken})
    assert info.traceback[-1].name == "broken"
    (run,) = tmp_path.iterdir()
    assert list((run / "checkpoints").glob("update-*"))
