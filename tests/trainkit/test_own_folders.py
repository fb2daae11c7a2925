"""Users whose home can't be written, or who have none."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from cluster.jobs import _user
from trainkit.own_folders import CACHES, own_temporary_folder, settle

UNKNOWN = 3_999_999_999  # a uid without a passwd entry


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in (*CACHES, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "environ", os.environ.copy())


def test_caches_of_a_user_whose_home_can_t_be_written_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    os.environ["HOME"] = "/dev/null"  # where root may not write either
    settle()
    folder = tmp_path / f"apex-ray-cache-{os.getuid()}"
    assert {os.environ[name] for name in CACHES} == {str(folder / "numba"), str(folder / "matplotlib")}
    assert folder.stat().st_mode & 0o777 == 0o700
    os.environ["MPLCONFIGDIR"] = "/given"
    settle()
    assert os.environ["MPLCONFIGDIR"] == "/given"


def test_where_the_home_can_be_written_nothing_is_set(tmp_path: Path) -> None:
    for given in ({"HOME": str(tmp_path)}, {"HOME": "/dev/null", "XDG_CACHE_HOME": str(tmp_path / "not" / "made")}):
        os.environ.update(given)
        settle()
        assert not set(CACHES) & set(os.environ) and not list(tmp_path.iterdir())


def test_a_folder_that_others_can_write_is_left_alone(tmp_path: Path) -> None:
    folder = own_temporary_folder()
    assert own_temporary_folder() == folder, "kept for the next run"
    folder.chmod(0o777)
    other = own_temporary_folder()
    assert other != folder and other.stat().st_mode & 0o777 == 0o700
    folder.rmdir()
    folder.symlink_to(other)
    assert own_temporary_folder() not in (folder, other)
    folder.unlink()
    folder.write_text("somebody's file")
    assert own_temporary_folder().is_dir() and folder.read_text() == "somebody's file"


def test_a_user_without_a_name_or_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        os.environ.pop(name, None)
    monkeypatch.setattr(os, "getuid", lambda: UNKNOWN)
    assert _user() == f"uid {UNKNOWN}", "as which jobs are submitted"
    monkeypatch.setattr("trainkit.own_folders.own_temporary_folder", lambda: tmp_path)
    settle()
    assert os.environ["HOME"] == str(tmp_path) and not set(CACHES) & set(os.environ)
