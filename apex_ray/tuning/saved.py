"""What a trial is saved as: a run folder with one checkpoint, so that every command that takes a run takes it too.

config.yaml                                the settings
checkpoints/update-N, checkpoints/best     as learner/checkpoint.py writes them
replay/, serial.safetensors                the replay, where it was asked for
trial.json                                 sizes, and what its caller knows; written last: without it, not whole

Nothing is unpickled when it is read.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apex_ray.config.load import load
from apex_ray.config.schema import ApexConfig
from apex_ray.learner.checkpoint import BEST
from apex_ray.replay.snapshots import REPLAY
from apex_ray.serial import state as serial_state
from trainkit.errors import NotWrittenError, UserError
from trainkit.files import atomic_write
from trainkit.run_layout import CONFIG_FILE, RECORD_FILE
from trainkit.words import size

FACTS = "trial.json"
METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class Size:
    """Of a saved trial, in bytes."""

    all_bytes: int
    replay_bytes: int

    def __str__(self) -> str:
        return size(self.all_bytes) + (f", {size(self.replay_bytes)} of it replay" if self.replay_bytes else "")


def check_place(folder: Path) -> None:
    """UserError unless `folder` is new, empty, or holds an earlier checkpoint of this kind."""
    if not folder.exists() and not folder.is_symlink():
        return
    expected = "expected a folder that is new, empty, or holds an earlier checkpoint"
    if not folder.is_dir():
        raise UserError(f"checkpoint {folder}: it is no folder; {expected}")
    if (folder / RECORD_FILE).exists():
        raise UserError(f"checkpoint {folder}: it is the folder of a run; {expected}")
    if any(folder.iterdir()) and not (folder / FACTS).is_file():
        raise UserError(f"checkpoint {folder}: it holds something else; {expected} with {FACTS}")


def save(run: Path, checkpoint: Path, folder: Path, facts: Mapping[str, Any]) -> Size:
    """Fill `folder` with that checkpoint of `run` and the replay that lies there, whose files are linked if possible.

    UserError where `folder` holds something else (`check_place`), NotWrittenError when there is no room.
    """
    check_place(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FACTS).write_bytes(b"")  # not whole, and ours all the same: it may be tried again
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        drop_replay(folder)
        shutil.copyfile(run / CONFIG_FILE, folder / CONFIG_FILE)
        for path in (checkpoint, run / "checkpoints" / BEST):
            if path.is_dir():
                shutil.copytree(path, folder / "checkpoints" / path.name)
        _give_replay(run, folder)
        replay_bytes = sum(path.stat().st_size for path in _replay_files(folder))
        all_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        known = {**facts, "bytes": all_bytes, "replay_bytes": replay_bytes}
        atomic_write(folder / FACTS, (json.dumps(known, indent=1) + "\n").encode())
    except OSError as error:
        raise NotWrittenError(f"checkpoint {folder} can't be written: {error.strerror or error}") from None
    return Size(all_bytes, replay_bytes)


def facts(folder: Path) -> dict[str, Any]:
    """What its caller knew as it was saved. UserError when there is no whole one."""
    try:
        found = json.loads((folder / FACTS).read_bytes())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{folder}: no whole checkpoint of apex-ray; expected a folder with {FACTS}, as save made it")
    return found


def settings(folder: Path) -> ApexConfig:
    """The settings of the run that was saved. UserError when there is no whole one."""
    facts(folder)
    return load(folder / CONFIG_FILE).config


def put_back(folder: Path, run: Path) -> None:
    """Have the new run folder `run` hold what was saved. NotWrittenError when there is no room."""
    try:
        shutil.copytree(folder / "checkpoints", run / "checkpoints")
        _give_replay(folder, run)
        for path in sorted((run / "checkpoints").glob(f"update-*/{METRICS}")):
            shutil.copyfile(path, run / METRICS)
    except OSError as error:
        raise NotWrittenError(f"run folder {run} can't be written: {error.strerror or error}") from None


def drop_replay(run: Path) -> None:
    """Delete the replay in a run folder: it is read, or belongs to nothing."""
    shutil.rmtree(run / REPLAY, ignore_errors=True)
    (run / serial_state.FILE).unlink(missing_ok=True)


def _replay_files(folder: Path) -> list[Path]:
    """All files of the replay that lies in a run folder."""
    return [path for path in (*(folder / REPLAY).rglob("*"), folder / serial_state.FILE) if path.is_file()]


def _give_replay(source: Path, target: Path) -> None:
    """Files of a replay are replaced, never written to: one on the same disk may have two names."""
    for path in _replay_files(source):
        there = target / path.relative_to(source)
        there.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, there)
        except OSError:
            shutil.copyfile(path, there)
