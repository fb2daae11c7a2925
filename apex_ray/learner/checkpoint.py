"""Checkpoints: folders written whole, then renamed, and checked when they are read. Nothing is unpickled.

checkpoints/update-000012000/  online.safetensors target.safetensors optimizer.safetensors counters.json config.yaml
                               metrics.jsonl manifest.json
checkpoints/best/              online.safetensors counters.json manifest.json: the weights of the best evaluation
checkpoints/damaged-*/         set aside by a resume that could not use them
resumes.jsonl                  a line for each resume, written before anything starts
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file

from apex_ray.types import AnyArray, Counters
from trainkit import checkpoint_folders, tensor_files
from trainkit.errors import UserError, first_line
from trainkit.files import append
from trainkit.manifest import DamagedError, check, sealed_files
from trainkit.run_layout import CONFIG_FILE

BEST = "best"
ONLINE, TARGET, OPTIMIZER, COUNTERS = (
    "online.safetensors",
    "target.safetensors",
    "optimizer.safetensors",
    "counters.json",
)
RESUMES = "resumes.jsonl"


@dataclass
class Checkpoint:
    path: Path
    counters: Counters
    online: dict[str, AnyArray]
    target: dict[str, AnyArray]
    optimizer: dict[str, AnyArray]
    unusable: dict[Path, str]  # newer ones, and what is wrong with each


def save_checkpoint(
    run: Path,
    counters: Counters,
    online: Mapping[str, AnyArray],
    target: Mapping[str, AnyArray],
    optimizer: Mapping[str, AnyArray],
    keep: int,
) -> Path:
    """Write checkpoints/update-N and delete all but the newest `keep` of its kind.

    NotWrittenError when an array is not finite or the disk is full: nothing is deleted, nothing left half-written.
    """
    path = run / "checkpoints" / f"update-{counters.updates:09d}"
    for left in path.parent.glob(".update-*.partial"):  # by a process that was killed as it wrote; nobody else writes
        shutil.rmtree(left, ignore_errors=True)
    with checkpoint_folders.replacing(path) as folder:
        for name, arrays in ((ONLINE, online), (TARGET, target), (OPTIMIZER, optimizer)):
            _write_arrays(folder / name, arrays)
        _write_counters(folder, counters)
        for name in (CONFIG_FILE, "metrics.jsonl"):
            if (run / name).exists():
                shutil.copy(run / name, folder / name)
    for old in _numbered(run)[:-keep]:
        shutil.rmtree(old)
    return path


def save_best(run: Path, counters: Counters, online: Mapping[str, AnyArray]) -> Path:
    """Write checkpoints/best, replacing the one before. NotWrittenError as `save_checkpoint`."""
    path = run / "checkpoints" / BEST
    with checkpoint_folders.replacing(path) as folder:
        _write_arrays(folder / ONLINE, online)
        _write_counters(folder, counters)
    return path


def kept_best(run: Path) -> float | None:
    """The return that a new best must beat, of what checkpoints/best holds; None where it holds nothing whole."""
    path = run / "checkpoints" / BEST
    try:
        check(path, (ONLINE, COUNTERS))
        return _read_counters(path).best_return
    except DamagedError:
        return None


def load_checkpoint(run: Path) -> Checkpoint:
    """The newest numbered checkpoint of a run that is whole and finite. UserError when there is none."""

    def read(path: Path) -> Checkpoint:
        check(path, {ONLINE, TARGET, OPTIMIZER, COUNTERS, *sealed_files(path)})
        online, target, optimizer = (_read_finite(path / name) for name in (ONLINE, TARGET, OPTIMIZER))
        counters = _read_counters(path)
        # Resumes that ended before their first checkpoint have used up their random numbers, too.
        counters = replace(counters, generation=max(counters.generation, _resumes(run)))
        # An evaluation may have come after it, the final one always does.
        if (best := kept_best(run)) is not None:
            counters = replace(counters, best_return=best)
        return Checkpoint(path, counters, online, target, optimizer, {})

    find(run, "latest")  # there are some
    none = f"{run / 'checkpoints'}: no checkpoint can be used to go on from"
    found, unusable = checkpoint_folders.newest_good(_numbered(run), read, none)
    return replace(found, unusable=unusable)


def set_aside(checkpoint: Checkpoint) -> dict[str, str]:
    """Rename the newer ones that can't be used to damaged-NAME, so that they don't count as the newest to keep.

    Returns the new name of each, by its old one.
    """
    where = checkpoint_folders.set_aside(checkpoint.unusable, "damaged-")
    return {path.name: aside.name for path, aside in where.items()}


def note_resume(run: Path, checkpoint: str, changed: Mapping[str, tuple[Any, Any]]) -> None:
    """Add a line to RESUMES: when, from which checkpoint, and each setting that changed with [before, after]."""
    line = {"time": f"{datetime.now().astimezone():%Y-%m-%dT%H:%M:%S%z}", "checkpoint": checkpoint, "changed": changed}
    append(run / RESUMES, (json.dumps(line) + "\n").encode())


def _resumes(run: Path) -> int:
    """How often the run was resumed, the tries that ended before their first checkpoint among them."""
    file = run / RESUMES
    return file.read_bytes().count(b"\n") if file.exists() else 0


def load_policy_weights(run: Path, which: str) -> tuple[dict[str, AnyArray], Counters]:
    """The online network of checkpoint `which`: best, latest or a folder's name under checkpoints/."""
    path = find(run, which)
    try:
        check(path, (ONLINE, COUNTERS))
        return _read_arrays(path / ONLINE), _read_counters(path)
    except DamagedError as error:
        others = [p.name for p in [*_numbered(run), run / "checkpoints" / BEST] if p.is_dir() and p != path]
        hint = f"the others are {', '.join(others)}" if others else "no other checkpoint is there"
        raise UserError(f"checkpoint {path} is damaged ({error}); {hint}") from None


def does_not_fit(checkpoint: Path, env_id: str, error: Exception) -> UserError:
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


def has_checkpoint(run: Path) -> bool:
    """Whether any was written to go on from."""
    return bool(_numbered(run))


def _numbered(run: Path) -> list[Path]:
    return sorted((run / "checkpoints").glob("update-*"))


def _write_arrays(path: Path, arrays: Mapping[str, AnyArray]) -> None:
    tensor_files.write({name: torch.from_numpy(np.asarray(a)) for name, a in arrays.items()}, path)


def _read_arrays(path: Path) -> dict[str, AnyArray]:
    """DamagedError for what is whole and no such file: another program's."""
    try:
        arrays: dict[str, AnyArray] = load_file(path)
    except SafetensorError as error:
        raise DamagedError(f"{path.name} is no safetensors file: {first_line(error)}") from None
    return arrays


def _read_finite(path: Path) -> dict[str, AnyArray]:
    arrays = _read_arrays(path)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise DamagedError(f"{name} of {path.name} is not finite")
    return arrays


def _write_counters(folder: Path, counters: Counters) -> None:
    (folder / COUNTERS).write_text(json.dumps(asdict(counters), indent=1) + "\n")


def _read_counters(path: Path) -> Counters:
    """DamagedError for anything but the counters, each of its type: what JSON holds is not always what was meant."""
    found = json.loads((path / COUNTERS).read_bytes())
    names = [f.name for f in fields(Counters)]
    if not isinstance(found, dict) or sorted(found) != sorted(names):
        raise DamagedError(f"{COUNTERS} does not hold {', '.join(names)}")
    for name, value in found.items():
        if name == "best_return":
            fine = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        else:
            fine = type(value) in ((int, float) if name == "time_s" else (int,)) and value >= 0
        if not fine:
            expected = {"time_s": "seconds", "best_return": "a number or null"}.get(name, "a count")
            raise DamagedError(f"{COUNTERS}: {name} = {json.dumps(value)}, expected {expected}")
    return Counters(**found)
