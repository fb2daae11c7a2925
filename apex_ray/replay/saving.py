"""A replay shard as one safetensors file in the run folder, with the update whose checkpoint it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from apex_ray.replay.memory import PrioritizedReplay
from apex_ray.types import AnyArray
from trainkit.errors import NotWrittenError, UserError

OF_UPDATE = "update"


def replay_file(run: Path, shard: int) -> Path:
    return run / f"replay-{shard}.safetensors"


def save_replay(path: Path, memory: PrioritizedReplay, counts: tuple[int, int], update: int) -> None:
    """Write everything stored; the file appears whole or, with NotWrittenError, not at all.

    Args:
        path: of the file.
        memory: what is saved.
        counts: transitions inserted and sampled in the run, (0, 0) from a shard that does not count them.
        update: of the checkpoint that it goes with.

    """
    arrays = {**memory.state_arrays(), "counts": np.asarray(counts, np.int64)}
    write_whole(path, arrays, {OF_UPDATE: str(update)})


def write_whole(path: Path, arrays: dict[str, AnyArray], metadata: dict[str, str]) -> None:
    """A safetensors file that appears whole or, with NotWrittenError, not at all."""
    temporary = path.with_suffix(".tmp")
    try:
        save_file(arrays, temporary, metadata)
        temporary.replace(path)
    except (SafetensorError, OSError) as error:
        raise NotWrittenError(f"{path}: {error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def replay_files(run: Path, shards: int, update: int, say: Callable[[str], None]) -> list[Path]:
    """The files that go with the checkpoint of `update`; none, said through `say`, where they don't.

    A replay is saved when a run stops. After a crash later on, the file in the run folder is of an older checkpoint.
    """
    there = sorted(run.glob("replay-*.safetensors"))
    files = [replay_file(run, shard) for shard in range(shards)]
    if not there:
        return []
    if there != sorted(files):
        say(f"replay starts empty: {len(there)} shards were saved, replay.shards is {shards}")
        return []
    saved = {_saved_with(file) for file in files}
    if saved != {update}:
        of = ", ".join(f"{u:,}" for u in sorted(saved))
        say(f"replay starts empty: it was saved with the checkpoint of update {of}, the run goes on from {update:,}")
        return []
    return files


def _saved_with(path: Path) -> int:
    """The update of the checkpoint that a replay file goes with."""
    try:
        with safe_open(path, "numpy") as file:
            return int((file.metadata() or {})[OF_UPDATE])
    except (SafetensorError, ValueError, KeyError, OSError) as error:
        raise unusable(path, error) from None


def load_replay(path: Path, memory: PrioritizedReplay) -> tuple[int, int]:
    """Fill `memory` with what `save_replay` wrote and return its counts.

    UserError when the file is damaged or does not fit this configuration.
    """
    try:
        state = load_file(path)
        memory.load_state_arrays(state)
        inserted, sampled = (int(x) for x in state["counts"])
    except (SafetensorError, ValueError, KeyError, OSError) as error:
        raise unusable(path, error) from None
    return inserted, sampled


def unusable(path: Path, error: Exception) -> UserError:
    """A saved replay that does not read."""
    return UserError(f"{path}: {error}; delete it to resume with an empty replay")
