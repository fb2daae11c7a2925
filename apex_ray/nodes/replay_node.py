"""A replay shard as a Ray actor: inserts, samples and updates run in threads of their own around one lock."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import ray

from apex_ray.config.schema import ApexConfig
from apex_ray.fields import Fields
from apex_ray.nodes.keeping import Keeping
from apex_ray.nodes.limit import Limit, LimitElsewhere, OwnLimit
from apex_ray.nodes.living import GROUP, note_work, restarted
from apex_ray.nodes.replay_stats import INSERT, SAMPLE, ReplayStats
from apex_ray.nodes.shared_memory import Place
from apex_ray.replay.build import build_limiter, build_replay
from apex_ray.replay.records import Sample
from apex_ray.replay.snapshots import Snapshots, shard_folder
from apex_ray.run_files import RunPlace, of_shard
from apex_ray.sizes import Sizes
from apex_ray.types import AnyArray, Chunk, PriorityUpdate
from trainkit.errors import UserError
from trainkit.manifest import DamagedError

FRESH_BYTES = 32 * 2**20  # of what is new to the mirror in one answer, about
RECENT = 256  # chunks of an actor that are known again: more than may be on their way


def concurrency_groups(shards: int, samples: int = 1) -> dict[str, int]:
    """Threads by group of methods. In `limit` an insert and so many `samples` of every other shard may wait at once.

    One sample waits at a time, so that they go in order. Several workers' may not wait for each other's: a worker whose
    next but one batch is not allowed yet would hold up the others' next one, and they all learn together.
    """
    limit = max((1 + samples) * (shards - 1), 1)
    return {"insert": 1, "sample": samples, "update": 1, "stats": 1, "save": 1, "limit": limit, **GROUP}


class ReplayNode(Keeping):
    """Calls of one concurrency group are served in order. An insert that must wait holds up only other inserts: that is
    how the samples-per-insert limit slows the actors down. Every batch is asked of all shards, if only for nothing: so
    all of them see which batch is drawn, and the learner knows what each holds.

    After a restart it has what its last snapshot has, or nothing, and Ray repeats the calls that were not answered:
    chunks are stored here instead.
    """

    def __init__(
        self,
        config: ApexConfig,
        fields: Fields,
        sizes: Sizes,
        shard: int,
        keeper: Callable[[], Any] | None = None,
        place: RunPlace | None = None,
        metrics: Callable[[], Any] | None = None,
    ) -> None:
        """`fields` are the agent's; `keeper` gives the shard that counts for all, None: this one; at `place` are its
        snapshots.
        """
        self._memory = build_replay(config, fields, sizes.stride, shard, time.time_ns() if restarted() else 0)
        self._stride = sizes.stride
        limiter = build_limiter(config, sizes.chunk_transitions, sizes.learned)
        self._limit: Limit = LimitElsewhere(keeper) if keeper else OwnLimit(limiter)
        self._own = self._limit if isinstance(self._limit, OwnLimit) else None
        self._lock = threading.Lock()
        self._received: dict[int, deque[int]] = defaultdict(partial(deque, maxlen=RECENT))  # by actor, chunks' numbers
        self._waiting: dict[tuple[str, int], float] = {}  # what waits for the limit, in which thread, since when
        self._batches: dict[int, dict[str, AnyArray] | None] = {}  # memory attached to, by the learner's worker
        self._fresh_limit = max(FRESH_BYTES // max(self._memory.segment_bytes, 1), 1)
        self._snapshots: Snapshots | None = None
        if place:
            self.keep(place, of_shard(shard), metrics)
            self._snapshots = Snapshots(shard_folder(place.here, shard), self._memory, self._lock)
        if self._snapshots and config.saves_replay and restarted():
            with suppress(UserError):
                self.folder()
                self._snapshots.load()

    @ray.method(concurrency_group="insert")
    def add(self, chunk: Chunk) -> int:
        """Store a chunk once the limit allows it; returns the transitions stored."""
        received = self._received[chunk.actor]
        if chunk.sequence in received:
            return 0  # Ray repeats a call whose answer was lost on its way
        with self._noted(INSERT):
            self._limit.insert(chunk.num_samples * self._stride)
        received.append(chunk.sequence)
        with self._lock:
            stored = self._memory.add(chunk) * self._stride
        note_work()
        return stored

    @ray.method(concurrency_group="sample")
    def sample(self, count: int, total: int, place: tuple[int, int, int] | None = None) -> Sample:
        """`count` transitions, or none where nothing is stored, once the limit allows `total` samples in all.

        With `place`, (worker, slot, first row) of the memory attached to, their windowed fields are written there and
        are not in the answer; where that memory went with a process that was lost, they are in it all the same.
        """
        out = None
        if place is not None and (memory := self._batches.get(place[0])) is not None:
            _, slot, row = place
            out = {name: array[slot, row : row + count] for name, array in memory.items()}
        with self._noted(SAMPLE):
            while not self._limit.may_sample(total):
                pass
        with self._lock:
            if not self._memory.size:
                count, out = 0, None
            sample = self._memory.sample(count, out)
        return replace(sample, fields={n: array for n, array in sample.fields.items() if n not in (out or {})})

    @ray.method(concurrency_group="sample")
    def sample_mirrored(self, count: int, total: int) -> Sample:
        """As `sample`, with what the learner's mirror lacks of windowed fields instead of those of the samples.

        Where these are many, some of them come alone, and no transitions. Answers must be used in the order of the
        calls: each holds what is new since the one before.
        """
        memory = self._memory
        with self._noted(SAMPLE):
            while not (allowed := self._limit.may_sample(total)) and memory.unsent < self._fresh_limit:
                pass
        with self._lock:
            fresh = memory.take_fresh(self._fresh_limit)
            whole = allowed and not memory.unsent and memory.size
            return replace(memory.sample(count if whole else 0, windows=False), fresh=fresh)

    @contextmanager
    def _noted(self, what: str) -> Iterator[None]:
        """Inside, `stats` tells that `what` waits."""
        waiting = what, threading.get_ident()
        self._waiting[waiting] = time.monotonic()
        try:
            yield
        finally:
            del self._waiting[waiting]

    @ray.method(concurrency_group="sample")
    def send_all_again(self) -> None:
        """A new learner's mirror holds nothing."""
        with self._lock:
            self._memory.send_all_again()

    @ray.method(concurrency_group="limit")
    def lost(self, transitions: int, inserted: int, sampled: int) -> None:
        """A shard was lost: what `OwnLimit.lost` does."""
        assert self._own is not None, "shard 0 counts"
        self._own.lost(transitions, inserted, sampled)

    @ray.method(concurrency_group="limit")
    def admit(self, transitions: int, wait_s: float) -> bool:
        """Another shard's insert: what `OwnLimit.insert` gives."""
        assert self._own is not None, "shard 0 counts"
        return self._own.insert(transitions, wait_s)

    @ray.method(concurrency_group="limit")
    def permit(self, total: int, wait_s: float) -> float:
        """Another shard's sample: what `OwnLimit.permit` gives."""
        assert self._own is not None, "shard 0 counts"
        return self._own.permit(total, wait_s)

    @ray.method(concurrency_group="update")
    def update_priorities(self, update: PriorityUpdate) -> None:
        with self._lock:
            self._memory.update_priorities(update)

    @ray.method(concurrency_group="stats")
    def attach(self, place: Place, worker: int = 0) -> bool:
        """Map the batch memory of one of the learner's workers; False where this shard is on another machine."""
        self._batches[worker] = place.attach()
        return self._batches[worker] is not None

    @ray.method(concurrency_group="stats")
    def stats(self) -> ReplayStats:
        now, (inserted, sampled) = time.monotonic(), self._counts
        waits_s = dict[str, float]()
        for (what, _), since in self._waiting.copy().items():
            waits_s[what] = max(now - since, waits_s.get(what, 0.0))
        with self._lock:
            memory = self._memory
            return ReplayStats(
                memory.transitions,
                memory.capacity * self._stride,
                inserted,
                sampled,
                memory.stale_updates,
                waits_s,
            )

    @property
    def _counts(self) -> tuple[int, int]:
        """Transitions inserted and sampled in the run, where this shard counts."""
        return (0, 0) if self._own is None else (self._own.limiter.inserted, self._own.limiter.sampled)

    @ray.method(concurrency_group="save")
    def save(self, update: int) -> None:
        """Have all that is stored now in a snapshot, made after the checkpoint of that update, beside other work."""
        assert self._snapshots is not None, "it was given a place"
        self.folder()
        self._snapshots.save(update, lambda: self._counts)

    @ray.method(concurrency_group="save")
    def load(self) -> str:
        """Go on from the newest snapshot: what came of it, for the user."""
        assert self._snapshots is not None, "it was given a place"
        self.folder()
        try:
            with self._lock:
                restored = self._snapshots.load()
        except DamagedError as error:
            return f"starts empty: {error}"
        if self._own is not None:
            self._own.start_from(restored.inserted, restored.sampled)
        return f"goes on with {restored}"
