"""What a second replay shard brings: samples, inserts and both at once through Ray, beside memcpy of the same bytes.

    python -m benchmarks.shards

In turns: a shard that shares one core with all else, a shard with two cores, and two shards with two. `samples` are
batches of 512 that arrive in this process; `inserts` are chunks that lie in the object store, as an actor's do; `both`
has 8 samples an insert, by the shards' own limit. This process makes the calls and takes what comes, and shares
the cores with the shards. `memcpy`: as many processes as shards, which copy a sample's frames from memory of a shard's
size.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from statistics import median
from typing import Any, cast

import numpy as np
import ray
from ray import ObjectRef
from rich.console import Console
from rich.table import Table

from apex_ray.config.load import load
from apex_ray.nodes import replay_node
from apex_ray.nodes.batch_source import BatchSource
from apex_ray.nodes.flow import remote
from apex_ray.nodes.replay_node import ReplayNode
from apex_ray.sizes import resolve_sizes
from apex_ray.types import Chunk
from benchmarks.machine import ROOT, write
from benchmarks.replay_speed import BATCH, FIELDS, HORIZON, SPEC, STREAMS, make_chunk

SECONDS, ROUNDS, IN_FLIGHT = 4.0, 3, 2
CHUNK, CAPACITY, FULL = HORIZON * STREAMS, 80_000, 40_000
SAMPLES_PER_INSERT = 8.0
CASES = {"1 on a core": (1, 1), "1": (1, 2), "2": (2, 2)}  # shards, and cores for them and what calls them
FRAMES_BYTES = (SPEC.leaf.stack + 3) * 84 * 84  # of a sample


class Shard(ReplayNode):
    @ray.method(concurrency_group="insert")
    def add_again(self, chunk: Chunk, number: int) -> int:
        """Store a chunk that lies in the object store as one that has not been there before."""
        add = cast(Callable[[Chunk], int], self.add)  # Ray's type of it is that of a handle's
        return add(replace(chunk, sequence=number))


class Shards:
    """So many of them, filled, on a Ray of their own."""

    def __init__(self, shards: int, ratio: float | None) -> None:
        given = "null" if ratio is None else ratio
        words = [f"replay.shards={shards}", f"replay.samples_per_insert={given}", "actors.count=1"]
        words += [f"replay.capacity_transitions={CAPACITY}", f"replay.min_transitions={FULL}"]
        self._config = load("atari", words).config
        sizes = resolve_sizes(self._config, SPEC)
        store = 4 * self._config.learner.prefetch_batches * sizes.batch_bytes + 4 * sizes.chunk_bytes
        ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, object_store_memory=store)
        node = remote(num_cpus=0, concurrency_groups=replay_node.concurrency_groups(shards))(Shard)
        self._nodes = [node.remote(self._config, FIELDS, sizes, 0)]
        self._nodes += [node.remote(self._config, FIELDS, sizes, i, lambda: self._nodes[0]) for i in range(1, shards)]
        self._chunk = ray.put(make_chunk(np.random.default_rng(0)))
        self._sent = 0
        while self._sent < FULL // CHUNK:
            ray.get(self._insert())

    def _insert(self) -> ObjectRef[int]:
        """The call that stores the next chunk, in the next shard."""
        self._sent += 1
        shard = self._nodes[self._sent % len(self._nodes)]
        call: ObjectRef[int] = shard.add_again.remote(self._chunk, self._sent)
        return call

    def rates(self, samples: bool, inserts: bool) -> tuple[float, float]:
        """Transitions a second (sampled, inserted)."""
        source = BatchSource(self._nodes, self._config, FIELDS, 1) if samples else None
        under_way = [self._insert() for _ in range(IN_FLIGHT * len(self._nodes))] if inserts else []
        drawn = stored = 0
        started = time.perf_counter()
        while time.perf_counter() - started < SECONDS:
            if source is not None:
                drawn += BATCH if source.poll(0.02) is not None else 0
            done, under_way = ray.wait(under_way, timeout=0.0 if samples else 0.02) if under_way else ([], [])
            stored += sum(ray.get(done))
            under_way += [self._insert() for _ in done]
        took = time.perf_counter() - started
        return drawn / took, stored / took


def through_ray(shards: int, cores: int, samples: bool, inserts: bool) -> tuple[float, float]:
    both, all_cores = samples and inserts, os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(all_cores)[:cores])  # Ray's processes are started with the same
    try:
        return Shards(shards, SAMPLES_PER_INSERT if both else None).rates(samples, inserts)
    finally:
        ray.shutdown()
        os.sched_setaffinity(0, all_cores)


def copies(ready: Barrier, found: Any) -> None:
    """Transitions a second whose frames are copied in one process."""
    memory = np.ones(CAPACITY // 2 * 7_100, np.uint8)
    batch, rng = np.empty((BATCH, FRAMES_BYTES), np.uint8), np.random.default_rng()
    ready.wait()
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        for row, first in enumerate(rng.integers(0, len(memory) - FRAMES_BYTES, BATCH)):
            batch[row] = memory[first : first + FRAMES_BYTES]
        done += BATCH
    found.put(done / (time.perf_counter() - started))


def memcpy(processes: int) -> float:
    context = multiprocessing.get_context("fork")
    ready, found = context.Barrier(processes), context.Queue()
    workers = [context.Process(target=copies, args=(ready, found)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    rates: list[float] = [found.get() for _ in workers]
    for worker in workers:
        worker.join()
    return sum(rates)


def main() -> None:
    seen: dict[str, dict[str, list[float]]] = {}
    for _ in range(ROUNDS):
        for case, (shards, cores) in CASES.items():
            sampled = through_ray(shards, cores, True, False)[0]
            inserted = through_ray(shards, cores, False, True)[1]
            drawn, stored = through_ray(shards, cores, True, True)
            figures = {"memcpy": memcpy(shards), "samples": sampled, "inserts": inserted}
            figures |= {"both: samples": drawn, "both: inserts": stored}
            for name, value in figures.items():
                seen.setdefault(name, {}).setdefault(case, []).append(value)
    one_core, one, two = CASES
    table, result = Table("transitions/s", *CASES, "two to one on a core", "two to one"), {}
    for name, found in seen.items():
        rates = {case: median(values) for case, values in found.items()}
        ratios = {f"two to {case}": _ratio(found[two], found[case]) for case in (one_core, one)}
        result[name] = rates | ratios
        shown = [f"{ratio['median']:.2f}" for ratio in ratios.values()]
        table.add_row(name, *(f"{rate:,.0f}" for rate in rates.values()), *shown)
    Console().print(table)
    write(ROOT / "results" / "bench" / "shards.json", {"transitions_per_s": result, "rounds": ROUNDS})


def _ratio(of: Sequence[float], to: Sequence[float]) -> dict[str, float]:
    ratios = [b / a for a, b in zip(to, of, strict=True)]
    return {"median": median(ratios), "lowest": min(ratios), "highest": max(ratios)}


if __name__ == "__main__":
    main()
