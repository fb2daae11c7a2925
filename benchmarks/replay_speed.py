"""Replay in process on one thread: transitions a second beside memcpy of the same bytes."""

from __future__ import annotations

import numpy as np

from apex_ray.replay.memory import PrioritizedReplay
from apex_ray.types import Chunk, EnvSpec, PriorityUpdate
from benchmarks.machine import ROOT, write
from benchmarks.table import rates, show

BATCH, CAPACITY, HORIZON, STREAMS, N = 512, 100_000, 100, 16, 3
SPEC = EnvSpec("ALE/Pong-v5", (84, 84), "uint8", 4, 6, 4)


def make_chunk(rng: np.random.Generator) -> Chunk:
    shape = (STREAMS, HORIZON)
    return Chunk(
        frames=rng.integers(0, 255, (STREAMS, HORIZON + SPEC.stack - 1 + N, 84, 84), dtype=np.uint8),
        actions=rng.integers(0, 6, shape),
        returns=rng.random(shape, np.float32),
        discounts=np.full(shape, 0.97, np.float32),
        steps=np.full(shape, N, np.uint8),
        ages=np.full(shape, SPEC.stack - 1, np.uint8),
        priorities=rng.random(shape) + 0.01,
    )


def main() -> None:
    """84x84 frames, stacks of 4, n = 3: what memcpy moves is the same S + n frames a transition."""
    rng = np.random.default_rng(0)
    memory = PrioritizedReplay(SPEC, CAPACITY, HORIZON, N, alpha=0.6, seed=0)
    chunks = [make_chunk(rng) for _ in range(4)]
    for i in range(CAPACITY // (HORIZON * STREAMS) + 1):
        memory.add(chunks[i % 4])
    source = memory._store.all.reshape(-1)
    size = BATCH * (SPEC.stack + N) * SPEC.frame_bytes
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
        memory.update_priorities(PriorityUpdate(drawn.slots, drawn.generations, rng.random(BATCH)))
        return BATCH

    def insert() -> int:
        return memory.add(chunks[next(turn) % 4])

    figures = rates({"memcpy": memcpy, "sample": sample, "sample and update": sample_and_update, "insert": insert})
    show("replay, batch 512, one thread", "transitions/s", figures, "memcpy")
    write(ROOT / "results" / "bench" / "replay.json", figures)


if __name__ == "__main__":
    main()
