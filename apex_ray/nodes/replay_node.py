"""A replay shard as a Ray actor: inserts, samples and updates run in threads of their own around one lock."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import ray

from apex_ray.config.schema import ApexConfig
from apex_ray.nodes import batch_memory
from apex_ray.replay.build import build_limiter, build_replay
from apex_ray.replay.memory import Sample
from apex_ray.replay.saving import load_replay, save_replay
from apex_ray.sizes import Sizes
from apex_ray.types import AnyArray, Chunk, EnvSpec, PriorityUpdate

FRESH_BYTES = 32 * 2**20  # of new frames in one answer, about


@dataclass(frozen=True)
class ReplayStats:
    """What a shard holds and has done."""

    transitions: int
    capacity: int
    mass: float
    inserted: int
    sampled: int
    stale_updates: int


class ReplayNode:
    """Concurrency groups (see `remote_class`): `insert`, `sample`, `update` and `stats` have one thread each.

    Calls of one group are served in order. An insert that must wait holds up only other inserts: that is how the
    samples-per-insert limit slows the actors down.
    """

    def __init__(self, config: ApexConfig, spec: EnvSpec, sizes: Sizes, shard: int) -> None:
        self._memory = build_replay(config, spec, shard)
        self._limiter = build_limiter(config, sizes.chunk_transitions)
        self._changed = threading.Condition()
        self._batches: AnyArray | None = None
        self._fresh_limit = max(FRESH_BYTES // self._memory.segment_bytes, 1)

    @ray.method(concurrency_group="insert")
    def add(self, chunk: Chunk) -> int:
        """Store a chunk once the limiter allows it; returns the transitions stored."""
        with self._changed:
            self._changed.wait_for(self._limiter.may_insert)
            added = self._memory.add(chunk)
            self._limiter.inserted += added
            self._changed.notify_all()
        return added

    @ray.method(concurrency_group="sample")
    def sample(self, count: int, share: int, place: tuple[int, int] | None = None) -> Sample:
        """`count` transitions once the limiter allows `share` samples (a batch's mean share of this shard).

        With `place`, (slot, first row) of the memory attached to, their frames are written there and the answer holds
        none.
        """
        out = None
        if place is not None:
            assert self._batches is not None, "attach() comes first"
            slot, row = place
            out = self._batches[slot, row : row + count]
        with self._changed:
            self._changed.wait_for(lambda: self._may_sample(share))
            sample = self._memory.sample(count, out)
            self._limiter.sampled += count
            self._changed.notify_all()
        return sample if out is None else replace(sample, frames=out[:0])

    @ray.method(concurrency_group="sample")
    def sample_mirrored(self, count: int, share: int) -> Sample:
        """As `sample`, with the frames that the learner's mirror lacks instead of those of the transitions.

        Where these are many, some of them come alone, and no transitions. Answers must be used in the order of the
        calls: each holds what is new since the one before.
        """
        memory = self._memory
        with self._changed:
            self._changed.wait_for(lambda: memory.unsent >= self._fresh_limit or self._may_sample(share))
            fresh = memory.take_fresh(self._fresh_limit)
            drawn = count if not memory.unsent and self._may_sample(share) else 0
            sample = memory.sample(drawn, frames=False)
            self._limiter.sampled += drawn
            self._changed.notify_all()
        return replace(sample, fresh=fresh)

    def _may_sample(self, share: int) -> bool:
        return self._memory.size > 0 and self._limiter.may_sample(share)

    @ray.method(concurrency_group="update")
    def update_priorities(self, update: PriorityUpdate) -> None:
        with self._changed:
            self._memory.update_priorities(update)

    @ray.method(concurrency_group="stats")
    def attach(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> bool:
        """Map the learner's batch memory; False where this shard is on another machine."""
        self._batches = batch_memory.attach(path, shape, dtype)
        return self._batches is not None

    @ray.method(concurrency_group="stats")
    def stats(self) -> ReplayStats:
        with self._changed:
            memory, limiter = self._memory, self._limiter
            return ReplayStats(
                memory.size,
                memory.capacity,
                memory.total_mass,
                limiter.inserted,
                limiter.sampled,
                memory.stale_updates,
            )

    @ray.method(concurrency_group="stats")
    def save(self, path: Path) -> None:
        with self._changed:
            save_replay(path, self._memory, self._limiter)

    @ray.method(concurrency_group="stats")
    def load(self, path: Path) -> None:
        with self._changed:
            load_replay(path, self._memory, self._limiter)
            self._changed.notify_all()


GROUPS = {"insert": 1, "sample": 1, "update": 1, "stats": 1}
