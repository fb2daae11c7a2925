"""Which checkpoint counts, and one clear message for each that can't be read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cluster.checkpoints import FILES, OPTIMIZER, TRAINING, WEIGHTS, facts, newest, state, updates, weights
from cluster.errors import UserError


def written(run: Path, name: str, step: int) -> Path:
    """A checkpoint's folder as every trainer writes it."""
    folder = run / name
    folder.mkdir()
    for file in (WEIGHTS, TRAINING):
        save_file({"w": torch.full((50,), float(step))}, folder / file)
    torch.save({"optimizer": {"moments": torch.zeros(50)}, "step": step}, folder / OPTIMIZER)
    (folder / "config.yaml").write_text("name: x\n")
    return folder


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def test_the_newest_and_how_far_it_had_come(tmp_path: Path) -> None:
    assert updates(tmp_path) == 0
    with pytest.raises(UserError, match="has no checkpoint yet"):
        newest(tmp_path)
    written(tmp_path, "checkpoint_2", 20)
    written(tmp_path, "checkpoint_1", 10)
    (tmp_path / "checkpoint_manager_snapshot.json").write_text("{}")
    assert newest(tmp_path).name == "checkpoint_2" and updates(tmp_path) == 20
    assert torch.equal(weights(newest(tmp_path) / WEIGHTS)["w"], torch.full((50,), 20.0))
    assert weights(newest(tmp_path) / WEIGHTS, torch.device("meta"))["w"].device.type == "meta"


@pytest.mark.parametrize("lacking", FILES)
def test_a_half_written_one_does_not_count(tmp_path: Path, lacking: str) -> None:
    whole, half = written(tmp_path, "checkpoint_1", 10), written(tmp_path, "checkpoint_2", 20)
    (half / lacking).unlink()
    assert newest(tmp_path) == whole and updates(tmp_path) == 10
    shutil.rmtree(whole)
    for asked in (newest, updates):
        with pytest.raises(UserError, match=rf"no whole checkpoint: checkpoint_2 lacks {lacking}; remove that folder"):
            asked(tmp_path)


@pytest.mark.parametrize("size", [0, 1, 8, 100, -1])
def test_files_that_break_off(tmp_path: Path, size: int) -> None:
    folder = written(tmp_path, "checkpoint_2", 20)
    for name, read in ((WEIGHTS, weights), (OPTIMIZER, state)):
        cut(folder / name, size)
        with pytest.raises(UserError) as caught:
            read(folder / name)
        told = str(caught.value)
        assert str(folder / name) in told and "is broken (" in told and "\n" not in told
        assert told.endswith(
            "remove the folder 'checkpoint_2' to go on from the checkpoint before it, or from 0 without one"
        )
    with pytest.raises(UserError, match=r"optimizer\.pt' is broken"):
        updates(tmp_path)


@pytest.mark.parametrize("content", [b"", b"q\n", b"no checkpoint", bytes(500), b"\x80\x02]"])
def test_files_of_something_else(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    for read in (weights, state, facts):
        with pytest.raises(UserError, match="file' is broken"):
            read(file)


def test_files_that_hold_other_things_or_are_missing(tmp_path: Path) -> None:
    torch.save({"step": 1}, tmp_path / "f")
    with pytest.raises(UserError, match="it holds no step and optimizer"):
        state(tmp_path / "f")
    (tmp_path / "f").write_text("[1]")
    with pytest.raises(UserError, match="it holds no object"):
        facts(tmp_path / "f")
    for read in (weights, state, facts):
        with pytest.raises(UserError, match=r"none' is missing; remove the folder"):
            read(tmp_path / "none")


def test_a_file_that_may_not_be_read_is_not_to_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> None:  # root, as in many containers, may read all files
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("cluster.checkpoints.load_file", refused)
    with pytest.raises(UserError, match=r"cannot be read: Permission denied$"):
        weights(tmp_path / WEIGHTS)
