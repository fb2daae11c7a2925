"""A replay shard as a Ray actor: inserts, samples and updates run in threads of their own around one lock."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import ray

from apex_ray.config.schema import ApexConfig
from apex_ray.parts import Sizes, build_limiter, build_replay
from apex_ray.replay.memory import Sample
from apex_ray.replay.saving import load_replay, save_replay
from apex_ray.types import Chunk, EnvSpec, PriorityUpdate


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
        self._limiter = build_limiter(config, sizes)
        self._changed = threading.Condition()

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
    def sample(self, count: int, share: int) -> Sample:
        """`count` transitions once the limiter allows `share` samples (a batch's mean share of this shard)."""
        with self._changed:
            self._changed.wait_for(lambda: self._memory.size > 0 and self._limiter.may_sample(share))
            sample = self._memory.sample(count)
            self._limiter.sampled += count
            self._changed.notify_all()
        return sample

    @ray.method(concurrency_group="update")
    def update_priorities(self, update: PriorityUpdate) -> None:
        with self._changed:
            self._memory.update_priorities(update)

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
