"""Run folders never collide; files and folders are whole or not there."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cluster.errors import UserError
from cluster.runs import atomic_folder, atomic_write, create_run, open_run


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
        open_run(str(run)[:-1])
    with pytest.raises(UserError, match=r"no run folder.*It holds runs.*" + run.name):
        open_run(tmp_path)
    (tmp_path / "pong-empty").mkdir()
    with pytest.raises(UserError, match=r"no config\.yaml"):
        open_run(tmp_path / "pong-empty")
    with pytest.raises(UserError, match="is a file"):
        open_run(run / "config.yaml")
    with pytest.raises(UserError, match="holds no runs"):
        open_run(tmp_path / "nowhere" / "x")


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
