"""Updates a second of the learner on a fixed batch, with and without the allocator's settings (apex_ray/process.py)."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import numpy as np
import torch

from apex_ray.config.load import load
from apex_ray.learner.learner import Learner
from apex_ray.process import keep_freed_memory
from apex_ray.types import Batch, EnvSpec
from benchmarks.machine import ROOT, write
from benchmarks.table import show

SPEC = EnvSpec("ALE/Pong-v5", (84, 84), "uint8", 4, 6, 4)


def fixed_batch(size: int) -> Batch:
    rng = np.random.default_rng(0)
    return Batch(
        frames=rng.integers(0, 255, (size, 7, 84, 84), dtype=np.uint8),
        actions=rng.integers(0, 6, size),
        returns=rng.random(size, np.float32),
        discounts=np.full(size, 0.97, np.float32),
        steps=np.full(size, 3, np.uint8),
        weights=np.ones(size, np.float32),
        slots=np.arange(size),
        generations=np.zeros(size, np.int64),
    )


def measure(preset: str, batch_size: int, keep: bool, seconds: float = 4.0) -> tuple[float, float]:
    """(updates a second, page faults an update) on one thread of this process."""
    torch.set_num_threads(1)
    if keep:
        keep_freed_memory()
    config = load(preset, [f"learner.batch_size={batch_size}"]).config
    learner, batch = Learner(SPEC, config), fixed_batch(batch_size)
    for _ in range(3):
        learner.update(batch)
    done, started, faults = 0, time.perf_counter(), _page_faults()
    while time.perf_counter() - started < seconds:
        learner.update(batch)
        done += 1
    return done / (time.perf_counter() - started), (_page_faults() - faults) / done


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def main() -> None:
    """Each setting in a process of its own: the allocator's can't be taken back."""
    figures, faults = {}, {}
    for preset, size in (("pong", 32), ("atari", 32), ("atari", 512)):
        for keep in (False, True):
            call = f"import benchmarks.learner_speed as b; print(list(b.measure({preset!r}, {size}, {keep})))"
            done = subprocess.run([sys.executable, "-c", call], cwd=ROOT, capture_output=True, text=True, check=True)
            name = f"{preset} preset, batch {size}, {'freed memory kept' if keep else 'as glibc does'}"
            figures[name], faults[name] = json.loads(done.stdout)
    show("learner, one thread", "updates/s", figures, "pong preset, batch 32, as glibc does")
    write(ROOT / "results" / "bench" / "learner.json", {"updates_per_s": figures, "page_faults_per_update": faults})


if __name__ == "__main__":
    main()
