"""What a serial run needs, beside checkpoint and snapshot of replay, to go on bit for bit: one file in the run folder.

It holds the actors' open windows, weights and generators of random numbers, and the actions that bring the environments
back to where they were (envs/action_log.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from apex_ray.replay.snapshots import write_whole
from apex_ray.serial.process import ProcessState
from apex_ray.types import AnyArray, Weights

FILE = "serial.safetensors"


@dataclass(frozen=True)
class State:
    """A file that was read."""

    generation: int
    published: Weights
    processes: list[ProcessState]
    samples_per_insert: float | None  # that replay counted under; None: not known


def save(
    run: Path,
    update: int,
    generation: int,
    samples_per_insert: float | None,
    processes: Sequence[ProcessState],
    published: Weights,
) -> None:
    """Write the file, as belonging to the checkpoint of `update`; it appears whole or, with OSError, not at all."""
    arrays: dict[str, AnyArray] = {}
    for weights in (published, *(state.weights for state in processes)):  # mostly the same few versions
        arrays |= _within(f"weights.{weights.version}", weights.params)
    for p, state in enumerate(processes):
        for a, actor in enumerate(state.actors):
            arrays |= _within(f"actor.{p}.{a}", actor)
    facts = {
        "update": update,
        "generation": generation,
        "samples_per_insert": samples_per_insert,
        "published": published.version,
        "processes": [[s.weights.version, s.steps, s.requested, len(s.actors)] for s in processes],
    }
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_whole(run / FILE, contiguous, {"facts": json.dumps(facts)})


def load(run: Path, update: int, say: Callable[[str], None]) -> State | None:
    """What `save` wrote with the checkpoint of `update`; None, said through `say`, where there is no such file."""
    path = run / FILE
    try:
        with safe_open(path, "numpy") as file:
            facts = json.loads(file.metadata()["facts"])
            if facts["update"] != update:
                raise ValueError(f"it is of update {facts['update']:,}, the run goes on from {update:,}")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except FileNotFoundError:
        return None
    except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
        say(f"new episodes begin, so this is not bit for bit the run without a stop: {path.name}: {error}")
        return None

    def version(number: int) -> Weights:
        return Weights(number, _under(f"weights.{number}", arrays))

    processes = [
        ProcessState(version(number), steps, requested, [_under(f"actor.{p}.{a}", arrays) for a in range(actors)])
        for p, (number, steps, requested, actors) in enumerate(facts["processes"])
    ]
    return State(facts["generation"], version(facts["published"]), processes, facts["samples_per_insert"])


def _within(prefix: str, arrays: dict[str, AnyArray]) -> dict[str, AnyArray]:
    """The arrays of one part among those of all."""
    return {f"{prefix}/{name}": array for name, array in arrays.items()}


def _under(prefix: str, arrays: dict[str, AnyArray]) -> dict[str, AnyArray]:
    """What `_within` gave."""
    return {name.partition("/")[2]: array for name, array in arrays.items() if name.startswith(f"{prefix}/")}
