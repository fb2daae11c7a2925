"""Microseconds of an actor step, a replay sample and an update, part by part: python -m benchmarks.where_time_goes"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from apex_ray.agent.build import build_agent
from apex_ray.config.load import load
from apex_ray.envs.make import make_envs
from apex_ray.learner.learner import Learner
from apex_ray.parts import build_actors, local_inference
from apex_ray.process import prepare_process
from apex_ray.replay.memory import PrioritizedReplay
from apex_ray.types import PriorityUpdate
from benchmarks.actor_speed import ENVS, NoWeights
from benchmarks.learner_speed import SPEC, fixed_batch
from benchmarks.machine import ROOT, write
from benchmarks.replay_speed import BATCH, FIELDS, HORIZON, STREAMS, make_chunk
from benchmarks.table import show

REPEATS = 300


class Stopwatch:
    """Sums up the time spent in calls of methods that it has been put around."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def around(self, label: str, owner: Any, method: str) -> None:
        inner: Callable[..., Any] = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                self.seconds[label] = self.seconds.get(label, 0.0) + time.perf_counter() - started

        setattr(owner, method, timed)

    def us(self, repeats: int, whole_s: float) -> dict[str, float]:
        parts = {label: seconds / repeats * 1e6 for label, seconds in self.seconds.items()}
        whole = whole_s / repeats * 1e6
        return {**parts, "the rest": whole - sum(parts.values()), "whole": whole}


def _run(work: Callable[[], object], watch: Stopwatch, repeats: int = REPEATS) -> dict[str, float]:
    for _ in range(5):
        work()
    watch.seconds.clear()
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    return watch.us(repeats, time.perf_counter() - started)


def actor() -> dict[str, float]:
    """One step of 32 games with the Nature network, a chunk every hundred steps."""
    config = load("atari", [f"actors.envs_per_actor={ENVS}"]).config
    envs = make_envs(config.env, 1)
    agent = build_agent(config, envs.spec)
    (one,) = build_actors(config, envs.spec, agent, 0, 1, local_inference(config, agent, NoWeights()))
    envs.close()
    watch = Stopwatch()
    watch.around("inference", one, "_infer")
    watch.around("waiting for the emulator", one._envs, "recv")
    watch.around("starting the emulator", one._envs, "send")
    for method in ("observe", "decide", "result"):
        watch.around("window: frames, rewards, ages", one._window, method)
    watch.around("chunk: n-step returns, priorities", one._window, "chunk")

    def step() -> None:
        one.start_step()
        one.finish_step()

    return _run(step, watch, 1000)


def replay() -> dict[str, float]:
    """One sample of 512 and its new priorities; 100,000 transitions."""
    rng = np.random.default_rng(0)
    memory = PrioritizedReplay(FIELDS, 100_000, HORIZON, alpha=0.6, seed=0)
    for _ in range(100_000 // (HORIZON * STREAMS) + 1):
        memory.add(make_chunk(rng))
    watch = Stopwatch()
    watch.around("choosing slots in the tree", memory._tree, "sample")
    watch.around("copying frames", memory._windows["frames"], "gather")
    watch.around("new priorities", memory, "update_priorities")

    def sample() -> None:
        drawn = memory.sample(BATCH)
        memory.update_priorities(PriorityUpdate(drawn.slots, drawn.overwrites, rng.random(BATCH)))

    return _run(sample, watch)


def learner(preset: str) -> dict[str, float]:
    """One update as the preset has it, by kind of operation (torch's profiler, time of each operation itself)."""
    config = load(preset, ["learner.compile=false"]).config
    one, batch, repeats = Learner(build_agent(config, SPEC), config), fixed_batch(config.learner.batch_size), 10
    for _ in range(3):
        one.update(batch)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(repeats):
            one.update(batch)
    kinds = {
        "convolutions, backward": ("convolution_backward",),
        "convolutions, forward": ("convolution", "_convolution", "mkldnn_convolution", "conv2d"),
        "fully connected": ("addmm", "mm", "linear"),
        "relu": ("relu", "relu_", "clamp_min", "clamp_min_", "threshold_backward"),
        "conversions and copies": ("copy_", "_to_copy", "to", "mul", "index", "clone", "contiguous", "div"),
        "optimizer": ("_fused_adam_", "_foreach_mul_", "_foreach_norm"),
    }
    of = {f"aten::{operation}": kind for kind, operations in kinds.items() for operation in operations}
    parts = dict.fromkeys([*kinds, "the rest"], 0.0)
    for event in profile.key_averages():
        parts[of.get(event.key, "the rest")] += event.self_cpu_time_total / repeats
    return {**parts, "whole": sum(parts.values())}


def main() -> None:
    prepare_process(threads=1)
    figures = {"actor step": actor(), "replay sample": replay()}
    figures |= {f"update, {preset} preset": learner(preset) for preset in ("pong", "atari")}
    for name, parts in figures.items():
        show(name, "us", parts, "whole")
    write(ROOT / "results" / "bench" / "where_time_goes.json", figures)


if __name__ == "__main__":
    main()
