"""Checkpoints: folders written whole, then renamed. Nothing is unpickled when they are read.

checkpoints/update-000012000/  online.safetensors target.safetensors optimizer.pt counters.json config.yaml
                               metrics.jsonl
checkpoints/best/              online.safetensors counters.json: the weights of the best evaluation
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.numpy import load_file, save_file

from apex_ray.types import AnyArray
from cluster.errors import UserError
from cluster.runs import atomic_folder

BEST = "best"


@dataclass(frozen=True)
class Counters:
    """How far a run has come; resuming goes on from here."""

    updates: int = 0
    frames: int = 0
    episodes: int = 0
    time_s: float = 0.0
    best_return: float | None = None
    generation: int = 0  # how often the run was started


@dataclass
class Checkpoint:
    path: Path
    counters: Counters
    online: dict[str, AnyArray]
    target: dict[str, AnyArray]
    optimizer: dict[str, Any]


def save_checkpoint(
    run: Path,
    counters: Counters,
    online: Mapping[str, AnyArray],
    target: Mapping[str, AnyArray],
    optimizer: Mapping[str, Any],
    keep: int,
) -> Path:
    """Write checkpoints/update-N and delete all but the newest `keep` of its kind."""
    path = run / "checkpoints" / f"update-{counters.updates:09d}"
    with atomic_folder(path) as folder:
        save_file(dict(online), folder / "online.safetensors")
        save_file(dict(target), folder / "target.safetensors")
        torch.save(dict(optimizer), folder / "optimizer.pt")
        _write_counters(folder, counters)
        for name in ("config.yaml", "metrics.jsonl"):
            if (run / name).exists():
                shutil.copy(run / name, folder / name)
    for old in _numbered(run)[:-keep]:
        shutil.rmtree(old)
    return path


def save_best(run: Path, counters: Counters, online: Mapping[str, AnyArray]) -> Path:
    """Write checkpoints/best, replacing the one before."""
    path = run / "checkpoints" / BEST
    with atomic_folder(path) as folder:
        save_file(dict(online), folder / "online.safetensors")
        _write_counters(folder, counters)
    return path


def load_checkpoint(run: Path) -> Checkpoint:
    """The newest numbered checkpoint of a run; UserError when there is none or a file of it does not read."""
    path = find(run, "latest")
    with _reading(path):
        return Checkpoint(
            path,
            _read_counters(path),
            load_file(path / "online.safetensors"),
            load_file(path / "target.safetensors"),
            torch.load(path / "optimizer.pt", map_location="cpu", weights_only=True),
        )


def load_policy_weights(run: Path, which: str) -> tuple[dict[str, AnyArray], Counters]:
    """The online network of checkpoint `which`: best, latest or a folder's name under checkpoints/."""
    path = find(run, which)
    with _reading(path):
        return load_file(path / "online.safetensors"), _read_counters(path)


def misfit(checkpoint: Path, env_id: str, error: RuntimeError) -> UserError:
    """The mistake of loading weights into a network they were not made for."""
    return UserError(
        f"checkpoint {checkpoint} does not fit the configured network or environment ({env_id}): "
        f"{str(error).splitlines()[-1].strip()}"
    )


def find(run: Path, which: str) -> Path:
    """The folder that `which` names; `best` falls back to the latest when no evaluation has been made yet."""
    folder = run / "checkpoints"
    numbered = _numbered(run)
    if which == BEST and not (folder / BEST).exists():
        which = "latest"
    if which == "latest":
        if not numbered:
            raise UserError(f"{folder}: no checkpoint; expected update-* folders (did it stop before the first?)")
        return numbered[-1]
    if not (folder / which).is_dir():
        names = [BEST, "latest", *(p.name for p in numbered)]
        raise UserError(f"{folder}: no checkpoint {which!r}; expected one of {', '.join(names)}")
    return folder / which


def _numbered(run: Path) -> list[Path]:
    return sorted((run / "checkpoints").glob("update-*"))


def _write_counters(folder: Path, counters: Counters) -> None:
    (folder / "counters.json").write_text(json.dumps(asdict(counters), indent=1) + "\n")


def _read_counters(path: Path) -> Counters:
    return Counters(**json.loads((path / "counters.json").read_text()))


class _reading:  # noqa: N801 (a context manager, used like a function)
    """Turns whatever a damaged file raises into one UserError that names the checkpoint and what else there is."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or not isinstance(error, Exception):
            return
        others = [p.name for p in _numbered(self._path.parents[1]) if p != self._path]
        hint = f"delete that folder to go on from {others[-1]}" if others else "no other checkpoint is there"
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"checkpoint {self._path} is damaged ({type(error).__name__}: {reason}); {hint}") from error
