"""Checkpoints of data-parallel runs as every trainer names them: which is the newest, and what is in its files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from cluster.errors import UserError
from cluster.runs import CONFIG_FILE

WEIGHTS, TRAINING, OPTIMIZER = "weights.safetensors", "training.safetensors", "optimizer.pt"
FILES = (WEIGHTS, TRAINING, OPTIMIZER, CONFIG_FILE)  # that every trainer writes


def newest(run: Path) -> Path:
    """The newest whole checkpoint's folder of a run. UserError when there is none."""
    if found := whole(run):
        return found[-1]
    if started := _folders(run):
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


def updates(run: Path) -> int:
    """How many the newest checkpoint comes after; 0 without one.

    UserError when none is whole: that run would start again from 0, and that is for its user to decide.
    """
    return int(state(newest(run) / OPTIMIZER)["step"]) if _folders(run) else 0


def weights(path: Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """The tensors of a checkpoint's .safetensors file by name. UserError when it is missing or broken."""
    with _of_a_checkpoint(path):
        found: dict[str, Tensor] = load_file(path)
    return {name: tensor.to(device) for name, tensor in found.items()}  # a full GPU is no broken file


def state(path: Path) -> dict[str, Any]:
    """What optimizer.pt holds, `step` and `optimizer` among it. UserError when it is missing or broken.

    On the CPU: an optimizer's load_state_dict moves what it needs to where the weights are.
    """
    with _of_a_checkpoint(path):
        found = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(found, dict) or not {"step", "optimizer"} <= found.keys():
            raise ValueError("it holds no step and optimizer")
    return found


def facts(path: Path) -> dict[str, Any]:
    """The object in a checkpoint's .json file. UserError when it is missing or broken."""
    with _of_a_checkpoint(path):
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("it holds no object")
    return found


def _folders(run: Path) -> list[Path]:
    return sorted(path for path in run.glob("checkpoint_*") if path.is_dir())


def _lacking(folder: Path) -> list[str]:
    return [name for name in FILES if not (folder / name).is_file()]


@contextmanager
def _of_a_checkpoint(path: Path) -> Iterator[None]:
    """Every error of reading `path` as one that says what to do."""
    before = f"remove the folder {path.parent.name!r} to go on from the checkpoint before it, or from 0 without one"
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"checkpoint file {str(path)!r} is missing; {before}") from None
    except PermissionError as error:
        raise UserError(f"checkpoint file {str(path)!r} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # which one depends on where the file breaks off: torch.load raises six kinds
        reason = str(error).strip().partition("\n")[0].partition(". ")[0] or type(error).__name__
        raise UserError(f"checkpoint file {str(path)!r} is broken ({reason}); {before}") from None
