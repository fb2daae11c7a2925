"""Checkpoints of data-parallel runs as every trainer writes them: files that are checked when they are read.

weights.safetensors    the weights to use     training.safetensors  those that training goes on with
optimizer.safetensors  the optimizer's means  progress.json         the step, and what else is but a number
config.yaml            every setting          manifest.json         each file's SHA-256, written last

Nothing is unpickled when they are read.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from trainkit import tensor_files
from trainkit.checkpoint_folders import newest_good, set_aside
from trainkit.errors import UserError
from trainkit.manifest import MANIFEST, DamagedError, check, sealed_files
from trainkit.run_layout import CONFIG_FILE
from trainkit.words import Say

WEIGHTS, TRAINING, OPTIMIZER = "weights.safetensors", "training.safetensors", "optimizer.safetensors"
PROGRESS = "progress.json"
EARLIER = "optimizer.pt"  # of checkpoints before there was a manifest
FILES = (WEIGHTS, TRAINING, OPTIMIZER, PROGRESS, CONFIG_FILE, MANIFEST)  # that every trainer writes


def write(
    folder: Path, weights: Mapping[str, Tensor], training: Mapping[str, Tensor], state: Mapping[str, Any], config: str
) -> None:
    """The files that every trainer has; `state` as `state` gives it. NotFiniteError for weights that are no use."""
    tensor_files.write(weights, folder / WEIGHTS)
    tensor_files.write(training, folder / TRAINING)
    tensor_files.write(state["optimizer"], folder / OPTIMIZER)
    progress = {name: value for name, value in state.items() if name != "optimizer"}
    (folder / PROGRESS).write_text(json.dumps(progress, allow_nan=False) + "\n")
    (folder / CONFIG_FILE).write_text(config)


def newest(run: Path) -> Path:
    """The newest whole checkpoint's folder of a run. UserError when there is none."""
    if found := whole(run):
        return found[-1]
    if started := _folders(run):
        if (started[-1] / EARLIER).exists():
            raise UserError(
                f"run {str(run)!r}: {started[-1].name} was written by an earlier version, which this one does not "
                "read; it is left as it is. Expected a run of this version"
            )
        raise UserError(
            f"run {str(run)!r} has no whole checkpoint: {started[-1].name} lacks {', '.join(_lacking(started[-1]))}; "
            f"remove that folder to train from the start with --resume"
        )
    raise UserError(f"run {str(run)!r} has no checkpoint yet; the first is written at the first validation or stop")


def whole(run: Path) -> list[Path]:
    """The folders of the checkpoints that have all their files, the newest last.

    One that a worker was writing as it was killed is there, too, but has only some of them.
    """
    return [folder for folder in _folders(run) if not _lacking(folder)]


def set_aside_damaged(run: Path, say: Say) -> None:
    """Rename the newest checkpoints that are not as they were written, so that a run goes on from the one before.

    UserError that names them all, which stay then, when there is no good one.
    """

    def checked(folder: Path) -> Path:
        check(folder, {*FILES, *sealed_files(folder)} - {MANIFEST})
        return folder

    if not (folders := whole(run)):
        return
    good, damaged = newest_good(folders, checked, f"run {str(run)!r} has no checkpoint that can be used to go on from")
    where = set_aside(damaged, "damaged_")
    for path, why in damaged.items():
        say(f"checkpoint {path.name} can't be used, kept as {where[path].name}: {why}")
    if damaged:
        say(f"going on from {good.name}")


@contextmanager
def nothing_half_written(run: Path) -> Iterator[None]:
    """Remove the folders without all files that a block leaves when it raises; those of before stay as they were."""
    before = _folders(run)
    try:
        yield
    except BaseException:
        for folder in _folders(run):
            if folder not in before and _lacking(folder):
                shutil.rmtree(folder, ignore_errors=True)
        raise


def updates(run: Path) -> int:
    """How many the newest checkpoint comes after; 0 without one.

    UserError when none is whole: that run would start again from 0, and that is for its user to decide.
    """
    return step(newest(run)) if _folders(run) else 0


def step(folder: Path) -> int:
    """How many updates a checkpoint comes after. UserError when its file is missing or broken."""
    return int(_progress(folder)["step"])


def weights(path: Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """The tensors of a checkpoint's .safetensors file by name. UserError when it is missing or broken."""
    with _of_a_checkpoint(path):
        found: dict[str, Tensor] = load_file(path)
    return {name: tensor.to(device) for name, tensor in found.items()}  # a full GPU is no broken file


def load_weights(network: nn.Module, folder: Path) -> None:
    """Put the weights to use into a network. UserError as `weights`, and where they are another network's."""
    found = weights(folder / WEIGHTS)
    try:
        network.load_state_dict(found)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"the weights in {folder} are not of its configuration: {reason}") from None


def state(folder: Path) -> dict[str, Any]:
    """`optimizer`, its tensors, and beside them what progress.json holds, `step` among it. UserError as `weights`.

    On the CPU: an optimizer moves what it needs to where the weights are.
    """
    return {**_progress(folder), "optimizer": weights(folder / OPTIMIZER)}


def facts(path: Path) -> dict[str, Any]:
    """The object in a checkpoint's .json file. UserError when it is missing or broken."""
    with _of_a_checkpoint(path):
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("it holds no object")
    return found


def _progress(folder: Path) -> dict[str, Any]:
    found = facts(folder / PROGRESS)
    with _of_a_checkpoint(folder / PROGRESS):
        if type(found.get("step")) is not int or found["step"] < 0:
            raise ValueError(f"step = {json.dumps(found.get('step'))}, expected a count")
    return found


def _folders(run: Path) -> list[Path]:
    return sorted(path for path in run.glob("checkpoint_*") if path.is_dir())


def _lacking(folder: Path) -> list[str]:
    return [name for name in FILES if not (folder / name).is_file()]


@contextmanager
def _of_a_checkpoint(path: Path) -> Iterator[None]:
    """Check `path` before it is read, and every error of reading as one that says what to do."""
    before = f"remove the folder {path.parent.name!r} to go on from the checkpoint before it, or from 0 without one"
    try:
        path.stat()
        check(path.parent, [path.name])
        yield
    except FileNotFoundError:
        raise UserError(f"checkpoint file {str(path)!r} is missing; {before}") from None
    except PermissionError as error:
        raise UserError(f"checkpoint file {str(path)!r} cannot be read: {error.strerror or error}") from None
    except DamagedError as error:
        raise UserError(f"checkpoint file {str(path)!r} is broken ({error}); {before}") from None
    except UserError:
        raise
    except Exception as error:  # of a file that was sealed as something else
        reason = str(error).strip().partition("\n")[0].partition(". ")[0] or type(error).__name__
        raise UserError(f"checkpoint file {str(path)!r} is broken ({reason}); {before}") from None
