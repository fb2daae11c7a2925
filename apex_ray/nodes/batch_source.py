"""The learner's side of sampling: batches from all shards, a bounded number asked for ahead of use."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import ray
from ray import ObjectRef

from apex_ray.config.schema import ApexConfig
from apex_ray.fields import Fields, windowed
from apex_ray.learner.team import ALONE, Share
from apex_ray.nodes.shared_memory import SharedMemory
from apex_ray.replay import shards as sharding
from apex_ray.replay.records import Fresh, Sample
from apex_ray.types import AnyArray, Batch

POLL_S = 0.5  # of waiting for a batch, after which metrics are reported all the same
IN_USE = 2  # batches that the learner holds at once: one in an update, one on its way to the device


class _Request(NamedTuple):
    """One batch under way."""

    slot: int  # of the batch memory
    shares: list[float]  # probability with which each shard was chosen
    counts: list[int]  # samples asked of each shard
    calls: list[ObjectRef[Any]]  # to each shard


class BatchSource:
    """Polled for batches; windowed fields come by shared memory from shards on this machine, else in Ray's answers.

    A batch's windowed fields are valid until the batch after the next is polled for.
    """

    def __init__(
        self,
        shards: list[Any],
        config: ApexConfig,
        fields: Fields,
        learned: int,
        mirror: Callable[[int, Fresh], None] | None = None,
        pin: Callable[[AnyArray], None] = lambda memory: None,
        share: Share = ALONE,
        total: int | None = None,
    ) -> None:
        """`mirror` takes what is new to a shard of windowed fields, where batches come without (replay.frames =
        learner); `pin` prepares the shared memory for a device's transfers. Each of a learner's workers has a source of
        its own, of its `share` of each batch; they begin at the same `total` (None: where the shards are).
        """
        self._shards, self._worker = shards, share.worker
        self._batch_size = config.learner.batch_size // share.workers
        self._ahead = config.learner.prefetch_batches
        self._mirror = mirror
        self._rng = np.random.default_rng((config.seed, share.worker) if share.worker else config.seed)
        self._masses = [0.0] * len(shards)
        # Of all workers together, who draw their parts of the same batches: what the shards count.
        self._learned = config.learner.batch_size * learned
        if total is None:
            total = max(s.sampled for s in ray.get([s.stats.remote() for s in shards]))
        self._total = total  # transitions of the samples asked for so far
        self._requests: deque[_Request] = deque()
        self._requested = 0
        self._slots = self._ahead + IN_USE
        self._here = [False] * len(shards)  # shards that write into the memory
        self._mirrored: list[tuple[int | None, int]] = [(None, 0)] * len(shards)  # series, and how much of it came
        self.waited_s = 0.0
        if mirror is None:
            self._memory = self._share_memory(fields)
            if self._memory is not None:
                for array in self._memory.arrays.values():
                    pin(array)

    @property
    def total(self) -> int:
        """Transitions of the samples of all batches before the next one."""
        return self._total - self._learned * len(self._requests)

    def _share_memory(self, fields: Fields) -> SharedMemory | None:
        """Memory that at least one shard could map, or None."""
        batches = self._slots, self._batch_size
        try:
            memory = SharedMemory({n: (f.dtype, (*batches, *f.sample_shape)) for n, f in windowed(fields).items()})
        except OSError:
            return None
        self._here = ray.get([s.attach.remote(memory.place, self._worker) for s in self._shards])
        return memory if any(self._here) else None

    def _request(self) -> None:
        """One batch of all shards: even one that gives no sample tells what it holds, and sees which batch it is."""
        counts = sharding.allocate(self._batch_size, self._masses, self._rng)
        shares = [mass / (sum(self._masses) or 1.0) for mass in self._masses]
        total = self._total + self._learned
        slot, row, calls = self._requested % self._slots, 0, []
        for shard, count, here in zip(self._shards, counts, self._here, strict=True):
            if self._mirror is not None:
                calls.append(shard.sample_mirrored.remote(count, total))
            else:
                calls.append(shard.sample.remote(count, total, (self._worker, slot, row) if here else None))
            row += count
        if row:
            self._total = total
        self._requests.append(_Request(slot, shares, counts, calls))
        self._requested += 1

    def poll(self, timeout_s: float = POLL_S) -> Batch | None:
        """The next batch, or None when it has not come within that time."""
        while len(self._requests) < self._ahead:
            self._request()
        slot, shares, counts, calls = self._requests[0]
        started = time.monotonic()
        ready, _ = ray.wait(calls, num_returns=len(calls), timeout=timeout_s)
        if len(ready) < len(calls):
            self.waited_s += time.monotonic() - started
            return None
        self._requests.popleft()
        samples: list[Sample] = ray.get(calls)
        self.waited_s += time.monotonic() - started
        self._masses = [sample.total_mass for sample in samples]
        mirrored = [self._mirror is None or self._write_mirror(shard, sample) for shard, sample in enumerate(samples)]
        if sum(len(s.slots) for s in samples) < self._batch_size or not all(mirrored):
            # Shards without transitions, or with only new frames to send. Which batches go is independent of draws.
            self._total -= self._learned if sum(counts) else 0
            return None
        drawn = [(shard, shares[shard], sample) for shard, sample in enumerate(samples) if counts[shard]]
        return sharding.merge(drawn, self._joined(slot, counts, samples))

    def _write_mirror(self, shard: int, sample: Sample) -> bool:
        """False where an answer before this one was lost on its way, frames and all: they are sent again."""
        fresh, (series, count) = sample.fresh, self._mirrored[shard]
        assert fresh is not None and self._mirror is not None, "the shard was told to send them"
        if (fresh.series, fresh.first) == (series, count) or (fresh.series != series and fresh.first == 0):
            self._mirror(shard, fresh)
            self._mirrored[shard] = (fresh.series, fresh.first + len(fresh.segments))
            return True
        if count >= 0:  # and once only
            self._shards[shard].send_all_again.remote()
            self._mirrored[shard] = (fresh.series, -1)
        return False

    def _joined(self, slot: int, counts: list[int], samples: list[Sample]) -> dict[str, AnyArray]:
        """The batch's windowed fields in shared memory, those that came in answers copied beside the rest."""
        if self._mirror is not None or self._memory is None:
            return {}
        joined = {name: array[slot] for name, array in self._memory.arrays.items()}
        row = 0
        for shard, (count, sample) in enumerate(zip(counts, samples, strict=True)):
            found = [name for name in joined if count and name in sample.fields]
            for name in found:
                joined[name][row : row + count] = sample.fields[name]
            if found and self._here[shard]:  # it was restarted, and has not mapped the memory yet
                attached = self._shards[shard].attach.remote(self._memory.place, self._worker)
                self._here[shard] = ray.get(attached)
            row += count
        return joined
