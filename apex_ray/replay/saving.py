"""A replay shard as one safetensors file in the run folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from apex_ray.replay.limiter import Limiter
from apex_ray.replay.memory import PrioritizedReplay
from cluster.errors import NotWrittenError, UserError


def replay_file(run: Path, shard: int) -> Path:
    return run / f"replay-{shard}.safetensors"


def save_replay(path: Path, memory: PrioritizedReplay, limiter: Limiter) -> None:
    """Write everything stored and the limiter's counts; the file appears whole or, with NotWrittenError, not at all."""
    counts = np.asarray([limiter.inserted, limiter.sampled], np.int64)
    temporary = path.with_suffix(".tmp")
    try:
        save_file({**memory.state_arrays(), "limiter": counts}, temporary)
        temporary.replace(path)
    except (SafetensorError, OSError) as error:
        raise NotWrittenError(f"{path}: {error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def load_replay(path: Path, memory: PrioritizedReplay, limiter: Limiter) -> None:
    """Go on from `save_replay`. UserError when the file is damaged or does not fit this configuration."""
    try:
        state = load_file(path)
        memory.load_state_arrays(state)
        limiter.inserted, limiter.sampled = (int(x) for x in state["limiter"])
    except (SafetensorError, ValueError, KeyError, OSError) as error:
        raise UserError(f"{path}: {error}; delete it to resume with an empty replay") from None
