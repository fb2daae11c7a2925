"""Which checkpoint counts, and one clear message for each that can't be read."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

import pytest
import torch

from trainkit.checkpoint_folders import writing
from trainkit.checkpoints import (
    FILES,
    OPTIMIZER,
    PROGRESS,
    WEIGHTS,
    facts,
    newest,
    nothing_half_written,
    set_aside_damaged,
    state,
    updates,
    weights,
    write,
)
from trainkit.errors import NotWrittenError, UserError
from trainkit.manifest import seal
from trainkit.tensor_files import NotFiniteError, load_optimizer_tensors, optimizer_tensors


def written(run: Path, name: str, step: int) -> Path:
    """A checkpoint's folder as every trainer writes it."""
    folder = run / name
    folder.mkdir()
    tensors = {"w": torch.full((50,), float(step))}
    with writing(folder):
        write(folder, tensors, tensors, {"optimizer": {"0.mean": torch.zeros(50)}, "step": step}, "name: x\n")
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


def test_a_run_of_an_earlier_version_is_not_to_be_removed(tmp_path: Path) -> None:
    """Its checkpoints have no manifest and no optimizer.safetensors, and hold trained weights."""
    (tmp_path / "checkpoint_000001").mkdir()
    for name in ("weights.safetensors", "training.safetensors", "optimizer.pt", "config.yaml"):
        (tmp_path / "checkpoint_000001" / name).write_bytes(b"weights")
    for asked in (newest, updates):
        with pytest.raises(UserError, match="checkpoint_000001 was written by an earlier version") as error:
            asked(tmp_path)
        assert "remove" not in str(error.value)


@pytest.mark.parametrize("size", [0, 1, 8, 100, -1])
def test_files_that_break_off(tmp_path: Path, size: int) -> None:
    folder = written(tmp_path, "checkpoint_2", 20)
    for name, read in (
        (WEIGHTS, weights),
        (OPTIMIZER, lambda path: state(path.parent)),
        (PROGRESS, lambda path: updates(path.parent.parent)),
    ):
        cut(folder / name, min(size, (folder / name).stat().st_size - 1))
        with pytest.raises(UserError) as caught:
            read(folder / name)
        told = str(caught.value)
        assert str(folder / name) in told and "is broken (" in told and "\n" not in told
        assert told.endswith(
            "remove the folder 'checkpoint_2' to go on from the checkpoint before it, or from 0 without one"
        )


@pytest.mark.parametrize("content", [b"", b"q\n", b"no checkpoint", bytes(500), b"\x80\x02]"])
def test_files_of_something_else(tmp_path: Path, content: bytes) -> None:
    """Sealed or not."""
    file = tmp_path / "file"
    file.write_bytes(content)
    for _ in range(2):
        for read in (weights, facts):
            with pytest.raises(UserError, match="file' is broken"):
                read(file)
        seal(tmp_path)


def test_files_that_hold_other_things_or_are_missing(tmp_path: Path) -> None:
    folder = written(tmp_path, "checkpoint_1", 10)
    for content, told in (
        ("[1]", "it holds no object"),
        ('{"step": "10"}', 'step = "10", expected a count'),
        ('{"step": true}', "step = true, expected a count"),
        ("{}", "step = null, expected a count"),
    ):
        (folder / PROGRESS).write_text(content)
        seal(folder)
        with pytest.raises(UserError, match=f"progress.json' is broken .{told}"):
            state(folder)
    for read in (weights, facts):
        with pytest.raises(UserError, match=r"none' is missing; remove the folder"):
            read(tmp_path / "none")


@pytest.mark.parametrize("name", [name for name in FILES if name != "manifest.json"])
def test_one_flipped_bit_is_found_and_a_run_goes_on_from_the_checkpoint_before(tmp_path: Path, name: str) -> None:
    before, last = written(tmp_path, "checkpoint_1", 10), written(tmp_path, "checkpoint_2", 20)
    whole = (last / name).read_bytes()
    (last / name).write_bytes(whole[:-2] + bytes([whole[-2] ^ 4]) + whole[-1:])
    told: list[str] = []
    set_aside_damaged(tmp_path, told.append)
    assert newest(tmp_path) == before and updates(tmp_path) == 10
    assert told[0].startswith(f"checkpoint checkpoint_2 can't be used, kept as damaged_checkpoint_2: {name} is not as")
    assert told[1:] == ["going on from checkpoint_1"] and (tmp_path / "damaged_checkpoint_2").is_dir()
    # the last good one is never taken away
    (before / name).write_bytes(b"")
    with pytest.raises(UserError, match=f"no checkpoint that can be used to go on from: checkpoint_1: {name}"):
        set_aside_damaged(tmp_path, told.append)
    assert newest(tmp_path) == before


def test_what_is_set_aside_finds_a_free_name_and_says_where_it_can_t(tmp_path: Path) -> None:
    for step, name in ((1, "checkpoint_1"), (2, "checkpoint_2")):
        written(tmp_path, name, step)
    cut(tmp_path / "checkpoint_2" / WEIGHTS, 9)
    for name in ("damaged_checkpoint_2", "damaged_checkpoint_2-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "kept").touch()
    told = list[str]()
    set_aside_damaged(tmp_path, told.append)
    assert "kept as damaged_checkpoint_2-3: " in told[0] and (tmp_path / "damaged_checkpoint_2-3" / WEIGHTS).exists()
    written(tmp_path, "checkpoint_2", 2)
    cut(tmp_path / "checkpoint_2" / WEIGHTS, 9)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "rename", no_permission)
        with pytest.raises(UserError, match=r"checkpoint_2 can't be used .* nor renamed to .*: Permission denied"):
            set_aside_damaged(tmp_path, told.append)


def no_permission(self: Path, target: Path) -> None:
    raise PermissionError(13, "Permission denied")


def test_good_checkpoints_are_left_alone(tmp_path: Path) -> None:
    set_aside_damaged(tmp_path, pytest.fail)
    written(tmp_path, "checkpoint_1", 10)
    set_aside_damaged(tmp_path, pytest.fail)
    assert updates(tmp_path) == 10


def test_what_is_not_finite_is_not_written(tmp_path: Path) -> None:
    for part in range(3):
        tensors = [{"w": torch.full((3,), float("nan") if i == part else 1.0)} for i in range(3)]
        folder = tmp_path / str(part)
        folder.mkdir()
        with pytest.raises(NotFiniteError, match=r"w of .* is not finite"), writing(folder):
            write(folder, tensors[0], tensors[1], {"optimizer": tensors[2], "step": 1}, "")


def test_a_full_disk_is_one_message(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))  # answered as a full disk is
    try:
        with pytest.raises(NotWrittenError, match=r"^checkpoint .*x can't be written: File too large$"):
            written(tmp_path, "x", 10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_half_written_one_goes_with_the_failure_that_left_it(tmp_path: Path) -> None:
    old = written(tmp_path, "checkpoint_1", 10)
    (old / OPTIMIZER).unlink()  # half-written, too, but not of this time
    with pytest.raises(ZeroDivisionError), nothing_half_written(tmp_path):
        written(tmp_path, "checkpoint_2", 20)
        (written(tmp_path, "checkpoint_3", 30) / WEIGHTS).unlink()
        raise ZeroDivisionError
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint_1", "checkpoint_2"]


@pytest.mark.parametrize("fused", [True, False])
def test_an_optimizer_goes_on_with_new_settings(fused: bool) -> None:
    def made(rate: float) -> tuple[torch.Tensor, torch.optim.Optimizer]:
        p = torch.ones(3, requires_grad=True)
        return p, torch.optim.AdamW([p], lr=rate, weight_decay=rate, fused=fused)

    def step(p: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
        p.grad = torch.tensor([1.0, -2.0, 3.0])
        optimizer.step()

    one, two, three = made(0.1), made(0.1), made(0.2)
    step(*one)
    for p, optimizer in (two, three):
        with torch.no_grad():
            p.copy_(one[0])
        load_optimizer_tensors(optimizer, optimizer_tensors(one[1]))
    assert three[1].param_groups[0]["lr"] == three[1].param_groups[0]["weight_decay"] == 0.2
    for made_one in (one, two, three):
        step(*made_one)
    assert torch.equal(one[0], two[0]) and not torch.equal(one[0], three[0])
    for wrong, told in (
        ({"1.exp_avg": torch.zeros(3)}, "no 1.exp_avg"),
        ({"0.exp_avg": torch.zeros(4)}, r"\[4\], not"),
    ):
        with pytest.raises(ValueError, match=told):
            load_optimizer_tensors(one[1], wrong)


def test_a_file_that_may_not_be_read_is_not_to_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> None:  # root, as in many containers, may read all files
        raise PermissionError(13, "Permission denied", str(path))

    folder = written(tmp_path, "checkpoint_1", 10)
    monkeypatch.setattr("trainkit.checkpoints.load_file", refused)
    with pytest.raises(UserError, match=r"cannot be read: Permission denied$"):
        weights(folder / WEIGHTS)
