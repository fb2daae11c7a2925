"""Replay on one thread in process, and through its process into the learner's, beside memcpy and other replays."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import psutil
import ray

from apex_ray.agent.build import build_agent
from apex_ray.config.load import load
from apex_ray.nodes import replay_node
from apex_ray.nodes.batch_source import BatchSource
from apex_ray.nodes.flow import remote
from apex_ray.nodes.replay_node import ReplayNode
from apex_ray.process import keep_freed_memory
from apex_ray.replay.memory import PrioritizedReplay
from apex_ray.sizes import resolve_sizes
from apex_ray.types import AnyArray, Chunk, EnvSpec, PriorityUpdate
from benchmarks.machine import ROOT, write
from benchmarks.peer import ask, figures_and_reasons
from benchmarks.table import rates, show

BATCH, CAPACITY, HORIZON, STREAMS, N = 512, 500_000, 100, 16, 3
PEERS_CAPACITY = 100_000
SPEC = EnvSpec.of_frames("ALE/Pong-v5", (84, 84), "uint8", 4, 6, 4)
FIELDS = build_agent(load("atari").config, SPEC).fields


def make_chunk(rng: np.random.Generator) -> Chunk:
    shape = (STREAMS, HORIZON)
    fields: dict[str, AnyArray] = {
        "frames": rng.integers(0, 255, (STREAMS, HORIZON + SPEC.leaf.stack - 1 + N, 84, 84), dtype=np.uint8),
        "actions": rng.integers(0, 6, shape, dtype=np.int32),
        "returns": rng.random(shape, np.float32),
        "discounts": np.full(shape, 0.97, np.float32),
        "steps": np.full(shape, N, np.uint8),
        "ages": np.full(shape, SPEC.leaf.stack - 1, np.uint8),
    }
    return Chunk(fields, np.ones(shape, bool), rng.random(shape) + 0.01)


def in_process() -> tuple[dict[str, float], float]:
    """(transitions a second, resident bytes a transition of a full replay of 500,000)."""
    rng = np.random.default_rng(0)
    chunks = [make_chunk(rng) for _ in range(4)]
    before = psutil.Process().memory_info().rss
    memory = PrioritizedReplay(FIELDS, CAPACITY, HORIZON, alpha=0.6, seed=0)
    for i in range(CAPACITY // (HORIZON * STREAMS) + 1):
        memory.add(chunks[i % 4])
    resident = (psutil.Process().memory_info().rss - before) / memory.size
    source = memory._windows["frames"].by_segment.reshape(-1)
    size = BATCH * (SPEC.leaf.stack + N) * math.prod(SPEC.leaf.shape)
    turn = iter(range(10**9))

    def memcpy() -> int:
        start = next(turn) * size % (len(source) - size)
        source[start : start + size].copy()
        return BATCH

    def sample() -> int:
        memory.sample(BATCH)
        return BATCH

    def sample_and_update() -> int:
        drawn = memory.sample(BATCH)
        memory.update_priorities(PriorityUpdate(drawn.slots, drawn.overwrites, rng.random(BATCH)))
        return BATCH

    def insert() -> int:
        return memory.add(chunks[next(turn) % 4])

    works = {"memcpy": memcpy, "sample": sample, "sample and update": sample_and_update, "insert": insert}
    return rates(works), resident


def into_the_learner(shards: int, seconds: float = 5.0) -> float:
    """Batches of 512 a second that arrive in this process from replay processes that hold 40,000 transitions."""
    settings = ["replay.capacity_transitions=80000", "replay.min_transitions=40000", f"replay.shards={shards}"]
    config = load("atari", [*settings, "actors.count=1"]).config
    sizes = resolve_sizes(config, SPEC)
    store = 4 * config.learner.prefetch_batches * sizes.batch_bytes + 8 * sizes.chunk_bytes
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, object_store_memory=store)
    try:
        node = remote(num_cpus=0, concurrency_groups=replay_node.concurrency_groups(1))(ReplayNode)
        nodes = [node.remote(config, FIELDS, sizes, i) for i in range(shards)]
        rng = np.random.default_rng(0)
        for i in range(config.replay.min_transitions // (HORIZON * STREAMS) + shards):
            ray.get(nodes[i % shards].add.remote(replace(make_chunk(rng), sequence=i)))
        source, done, started = BatchSource(nodes, config, FIELDS, 1), 0, 0.0
        while not done or time.perf_counter() - started < seconds:
            if source.poll() is None:
                continue
            started = started or time.perf_counter()  # from the first batch on
            done += 1
        return (done - 1) / (time.perf_counter() - started)
    finally:
        ray.shutdown()


def main() -> None:
    """84x84 frames, stacks of 4, n = 3: what memcpy moves is the same S + n = 7 frames a transition."""
    keep_freed_memory()
    figures, resident = in_process()
    peers: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for what in ("sample", "sample-and-update", "insert"):
        measured, failed = figures_and_reasons(ask("replay", str(PEERS_CAPACITY), what))
        peers |= {f"{name}: {what}": value for name, value in measured.items()}
        reasons |= failed
    show("replay, batch 512, one thread", "transitions/s", figures | peers, "memcpy")
    remote_rates = {f"{shards} shard(s)": into_the_learner(shards) for shards in (1, 2)}
    show("replay process to learner process", "batches of 512 a second", remote_rates, "1 shard(s)")
    print(f"resident bytes a transition, {CAPACITY:,} of them: {resident:,.0f}")
    for name, reason in reasons.items():
        print(f"{name}: {reason}")
    write(
        ROOT / "results" / "bench" / "replay.json",
        {
            "transitions_per_s": figures,
            "peers_transitions_per_s": peers,
            "peers_not_measured": reasons,
            "batches_per_s_into_learner": remote_rates,
            "resident_bytes_per_transition": resident,
        },
    )


if __name__ == "__main__":
    main()
