"""Run folders never collide; files and folders are whole or not there."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trainkit.errors import UserError
from trainkit.files import atomic_folder, atomic_write
from trainkit.run_record import record_start
from trainkit.runs import create_run, open_run


def test_create_run_names_the_folder_and_writes_the_config(tmp_path: Path) -> None:
    run = create_run(tmp_path / "deep" / "runs", "ALE/Pong v5", "a: 1\n")
    assert re.fullmatch(r"ALE-Pong-v5-\d{8}-\d{6}", run.name)
    assert (run / "config.yaml").read_text() == "a: 1\n"
    assert [p.name for p in run.iterdir()] == ["config.yaml"]


def test_runs_started_at_once_never_share_a_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda i: create_run(tmp_path, "x", f"i: {i}\n"), range(24)))
    assert len(set(runs)) == 24
    assert {(run / "config.yaml").read_text() for run in runs} == {f"i: {i}\n" for i in range(24)}


def test_name_cannot_leave_the_runs_folder(tmp_path: Path) -> None:
    assert create_run(tmp_path, "../../etc", "").parent == tmp_path
    assert create_run(tmp_path, "///", "").name.startswith("run-")


def test_runs_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"runs folder .*file.* cannot be written.*runs_dir=") as caught:
        create_run(tmp_path / "file" / "runs", "x", "")
    assert "\n" not in str(caught.value)
    # root may write anywhere on disk, but not in /proc
    with pytest.raises(UserError, match="cannot be written"):
        create_run("/proc/runs", "x", "")


def test_open_run(tmp_path: Path) -> None:
    run = create_run(tmp_path, "pong", "")
    assert open_run(str(run)) == run
    with pytest.raises(UserError, match=re.escape(f"Did you mean {str(run)!r}?")):
        open_run(str(run)[:-1] + "x")
    with pytest.raises(UserError, match=r"no run folder.*It holds runs.*" + run.name):
        open_run(tmp_path)
    (tmp_path / "pong-empty").mkdir()
    with pytest.raises(UserError, match=r"no config\.yaml"):
        open_run(tmp_path / "pong-empty")
    with pytest.raises(UserError, match="is a file"):
        open_run(run / "config.yaml")
    with pytest.raises(UserError, match="holds no runs"):
        open_run(tmp_path / "nowhere" / "x")


def made(name: str, trainer: str = "") -> Path:
    """A run folder of that name under runs/, as `trainer` leaves it."""
    run = Path("runs", name)
    run.mkdir(parents=True)
    (run / "config.yaml").touch()
    if trainer:
        record_start(run, trainer)
    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("APEX_RUNS_DIR", raising=False)
    return tmp_path


def test_latest_is_the_run_that_was_started_last(here: Path) -> None:
    made("pong-20261126-120000")
    newest = made("cartpole-20261126-120001-2")
    made("zaxxon-20261126-120001")
    made("atari-20251231-235959")
    assert open_run("latest") == newest
    assert open_run("runs/latest") == newest
    assert open_run(here / "runs" / "latest") == here / newest


def test_the_beginning_of_a_name_is_enough_where_only_one_begins_so(here: Path) -> None:
    runs = [made(f"{name}-20261126-12000{i}") for i, name in enumerate(("pong", "pong", "cartpole"))]
    assert open_run("cart") == open_run("runs/cart") == open_run(runs[2].name) == runs[2]
    with pytest.raises(UserError, match=re.escape(f"2 runs begin: {runs[0]}, {runs[1]}; expected one of them, or")):
        open_run("pong")
    with pytest.raises(UserError, match=r"'runs/pung' does not exist; expected .* or latest"):
        open_run("pung")


def test_a_name_that_something_here_happens_to_have_is_that_of_a_run(here: Path) -> None:
    """In a checkout, `lstm` is a folder, and the beginning of runs/lstm-20261126-120000."""
    (here / "lstm").mkdir()
    (here / "cart").touch()
    (here / "pong").mkdir()
    with pytest.raises(UserError, match=r"^'lstm' is no run folder: it has no config.yaml"):
        open_run("lstm")
    runs = [made(f"{name}-20261126-120000") for name in ("lstm", "cartpole", "pong")]
    assert [open_run(name) for name in ("lstm", "cart")] == runs[:2]
    inside = here / "pong" / "pong-20261126-120001"
    inside.mkdir()
    (inside / "config.yaml").touch()
    with pytest.raises(UserError, match=r"'pong' is no run folder: .* It holds runs; the newest name is 'pong/pong-"):
        open_run("pong")
    (here / "latest").mkdir()
    assert open_run("latest") in runs


def test_latest_without_any_run(here: Path) -> None:
    with pytest.raises(UserError, match=r"'runs/latest' does not exist; .*'runs' holds no runs"):
        open_run("latest")


def test_latest_lies_under_the_runs_base(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made("pong-20261126-120000")
    monkeypatch.setenv("APEX_RUNS_DIR", str(here))
    monkeypatch.chdir("/")
    assert open_run("latest") == here / run == open_run("pong")


def test_each_trainer_has_a_latest_run_of_its_own(here: Path) -> None:
    mine, other = made("text-20261126-120000", "apex-lstm"), made("pong-20261126-130000", "apex-ray")
    sweep = made("text-sweep-20261126-140000", "apex-lstm sweep")
    assert open_run("latest", "apex-lstm") == mine
    assert open_run("latest", "apex-ray") == other
    with pytest.raises(UserError, match=r"is a run of apex-lstm sweep; expected one of apex-lstm"):
        open_run(sweep, "apex-lstm")


def test_the_record_tells_what_a_run_was_started_with_and_every_time_it_went_on(here: Path) -> None:
    run = made("pong-20261126-120000", "apex-ray")
    first, *_ = json.loads((run / "run.json").read_text())["starts"]
    record_start(run, "apex-ray")
    record = json.loads((run / "run.json").read_text())
    assert record["trainer"] == "apex-ray"
    assert len(record["starts"]) == 2 and record["starts"][0] == first
    assert first["versions"]["ray"] == importlib.metadata.version("ray")
    assert {"apex-ray", "torch", "numpy", "gymnasium", "ale-py"} <= first["versions"].keys()
    assert first["python"] == platform.python_version() and first["host"] == socket.gethostname()
    assert first["cores"] == os.cpu_count() and first["cpu"] and isinstance(first["gpus"], list)
    assert shlex.split(first["command"]) == sys.orig_argv
    root = Path(__file__).parents[2]
    if (root / ".git").exists():
        head = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True)
        assert first["source"]["commit"] == head.stdout.strip()
        assert first["source"]["dirty"] in (True, False)


def test_a_record_that_is_no_json_is_begun_anew(here: Path) -> None:
    run = made("pong-20261126-120000")
    (run / "run.json").write_text("{")
    record_start(run, "apex-ray")
    assert len(json.loads((run / "run.json").read_text())["starts"]) == 1


def test_atomic_write_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    atomic_write(tmp_path / "f", b"one")
    atomic_write(tmp_path / "f", b"two")
    assert (tmp_path / "f").read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["f"]


def test_failed_atomic_write_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    atomic_write(tmp_path / "f", b"one")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic_write(tmp_path / "f", b"two")
    assert (tmp_path / "f").read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["f"]


def test_atomic_folder_is_invisible_until_whole_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "best"
    for content in ("one", "two"):
        with atomic_folder(path) as folder:
            (folder / "f").write_text(content)
            assert folder.parent == path.parent and folder != path
            assert not path.exists() or (path / "f").read_text() == "one"
        assert (path / "f").read_text() == content
    assert os.listdir(path.parent) == ["best"]


def test_error_inside_atomic_folder_keeps_the_old_one(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "best") as folder:
        (folder / "f").write_text("one")
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "best") as folder:
        (folder / "f").write_text("two")
        raise ZeroDivisionError
    assert (tmp_path / "best" / "f").read_text() == "one"
    assert os.listdir(tmp_path) == ["best"]


def test_failed_exchange_brings_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with atomic_folder(tmp_path / "best") as folder:
        (folder / "f").write_text("one")
    rename = Path.rename

    def refuse_new(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_new)
    with pytest.raises(OSError, match="Input/output"), atomic_folder(tmp_path / "best") as folder:
        (folder / "f").write_text("two")
    assert (tmp_path / "best" / "f").read_text() == "one"
    assert os.listdir(tmp_path) == ["best"]


def test_what_a_killed_process_left_is_mended(tmp_path: Path) -> None:
    for kind, content in (("partial", "half"), ("replaced", "old")):
        (tmp_path / f".best.{kind}").mkdir()
        (tmp_path / f".best.{kind}" / "f").write_text(content)
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "best") as folder:
        assert list(folder.iterdir()) == []
        raise ZeroDivisionError
    assert (tmp_path / "best" / "f").read_text() == "old"
    assert os.listdir(tmp_path) == ["best"]
