"""Was every step that actors made stored once? An agent that numbers steps, and what its replay's snapshots tell.

`MarkedAgent` (agent=benchmarks.audit:MarkedAgent) gives each step the number of its stream, one of an environment in an
actor's process, and its own in that stream, from 0 on, as a state that the actor carries. `Collector` keeps every
segment that a snapshot names, `audit` looks for numbers that are there twice or missing.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file

from apex_ray.agent.contract import Loss, State
from apex_ray.agent.q_learning import QLearning
from apex_ray.config.schema import ApexConfig
from apex_ray.fields import Field
from apex_ray.replay.snapshots import REPLAY
from apex_ray.types import BoolArray, EnvSpec, FloatArray, IntArray
from trainkit.manifest import DamagedError, sealed_files

SEEN_BY_THE_LEARNER = "AUDIT_LEARNER"  # environment variable: the file that it adds the marks of some batches to
LOOKS_EVERY_UPDATES = 20
STREAM, NUMBER, TIME = "stream", "number", "time"
MARKS = (STREAM, NUMBER, TIME)


class MarkedAgent(QLearning):
    """Q-learning whose replay keeps of each step its stream, its number there, and when it was made, in ns."""

    def __init__(self, spec: EnvSpec, config: ApexConfig) -> None:
        super().__init__(spec, config)
        marks = {name: Field("int64") for name in MARKS}
        self.fields, self.outputs = self.fields | marks, self.outputs | marks
        self._updates = 0

    def initial_state(self, num_envs: int) -> State:
        streams = (secrets.randbits(40) << 16) + np.arange(num_envs, dtype=np.int64)
        return {STREAM: streams, NUMBER: np.zeros(num_envs, np.int64)}

    def next_state(self, state: State, actions: IntArray, rewards: FloatArray, first: BoolArray) -> State:
        """Counts go on over the ends of episodes."""
        return state

    def infer(self, network: Any, observations: Any, state: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        outputs, _ = super().infer(network, observations, state)
        given = {**state, TIME: torch.full_like(state[NUMBER], time.time_ns())}
        return outputs | given, {**state, NUMBER: state[NUMBER] + 1}

    def loss(self, online: Any, target: Any, batch: Mapping[str, Any]) -> Loss:
        self._updates += 1
        file = os.environ.get(SEEN_BY_THE_LEARNER)
        if file and self._updates % LOOKS_EVERY_UPDATES == 0:
            marks = np.stack([batch[name].cpu().numpy() for name in (STREAM, NUMBER)], axis=1)
            with open(file, "ab", buffering=0) as seen:
                seen.write(marks.astype(np.int64).tobytes())
        return super().loss(online, target, batch)


class Collector:
    """Links to every file of segments that a manifest has named: `look` often enough that none is deleted before."""

    def __init__(self, run: Path, folder: Path) -> None:
        self._run, self._folder = run, folder
        folder.mkdir(parents=True, exist_ok=True)

    def look(self) -> None:
        for shard in (self._run / REPLAY).glob("shard-*"):
            with contextlib.suppress(DamagedError, OSError):
                for name in sealed_files(shard):
                    there = self._folder / f"{shard.name}-{name}"
                    if name.startswith("segments-") and not there.exists():
                        with contextlib.suppress(OSError):  # gone already, or a full disk: the next look tries again
                            os.link(shard / name, there)


@dataclass(frozen=True)
class Audit:
    """Of all segments that were collected."""

    streams: int
    steps: int
    twice: int  # steps that are there more than once
    gaps: list[tuple[int, float, float]]  # steps missing inside a stream, made between these times (s)
    unknown: int  # steps that the learner saw and no segment has

    @property
    def missing(self) -> int:
        return sum(count for count, _, _ in self.gaps)


def audit(folder: Path, seen: Path | None = None) -> Audit:
    """What the segments collected in `folder` say, and the file that the learner wrote."""
    parts = []
    for path in sorted(folder.glob("*segments-*.safetensors")):
        with contextlib.suppress(SafetensorError):
            fields = load_file(path)
            parts.append(np.stack([fields[name].reshape(-1) for name in MARKS], axis=1))
    marks: IntArray = np.concatenate(parts) if parts else np.zeros((0, 3), np.int64)
    marks = marks[np.lexsort((marks[:, 1], marks[:, 0]))]
    same, step = marks[1:, 0] == marks[:-1, 0], np.diff(marks[:, 1])
    holes = np.flatnonzero(same & (step > 1))
    first = np.flatnonzero(np.append(True, ~same)) if len(marks) else np.zeros(0, np.int64)
    gaps = [(int(step[i]) - 1, marks[i, 2] / 1e9, marks[i + 1, 2] / 1e9) for i in holes]
    gaps += [(int(marks[i, 1]), 0.0, marks[i, 2] / 1e9) for i in first if marks[i, 1] > 0]
    unknown = 0
    if seen is not None and seen.exists():
        looked = np.fromfile(seen, np.int64).reshape(-1, 2)
        key = np.dtype([(STREAM, np.int64), (NUMBER, np.int64)])
        known = np.ascontiguousarray(marks[:, :2]).view(key)
        unknown = int(np.count_nonzero(~np.isin(np.unique(looked.view(key)), known)))
    return Audit(len(first), len(marks), int(np.count_nonzero(same & (step == 0))), gaps, unknown)
