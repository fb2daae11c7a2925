"""Updates a second of the learner on a fixed batch: what the allocator's settings, bfloat16 and torch.compile bring."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

import numpy as np
import torch

from apex_ray.agent.build import build_agent
from apex_ray.config.load import load
from apex_ray.learner.learner import Learner
from apex_ray.process import keep_freed_memory
from apex_ray.types import AnyArray, Batch, EnvSpec
from benchmarks.machine import ROOT, write
from benchmarks.table import show

SPEC = EnvSpec.of_frames("ALE/Pong-v5", (84, 84), "uint8", 4, 6, 4)
PLAIN = "as glibc does"


def fixed_batch(size: int) -> Batch:
    rng = np.random.default_rng(0)
    fields: dict[str, AnyArray] = {
        "frames": rng.integers(0, 255, (size, 7, 84, 84), dtype=np.uint8),
        "actions": rng.integers(0, 6, size, dtype=np.int32),
        "returns": rng.random(size, np.float32),
        "discounts": np.full(size, 0.97, np.float32),
        "steps": np.full(size, 3, np.uint8),
        "ages": np.full(size, 3, np.uint8),
    }
    return Batch(fields, np.ones(size, np.float32), np.arange(size), np.zeros(size, np.int64))


def measure(preset: str, overrides: list[str], keep: bool = True, seconds: float = 5.0) -> tuple[float, float]:
    """(updates a second, page faults an update) on one thread of this process."""
    torch.set_num_threads(1)
    if keep:
        keep_freed_memory()
    config = load(preset, overrides).config
    learner, batch = Learner(build_agent(config, SPEC), config), fixed_batch(config.learner.batch_size)
    for _ in range(3):
        learner.update(batch)
    done, started, faults = 0, time.perf_counter(), _page_faults()
    while time.perf_counter() - started < seconds:
        learner.update(batch)
        done += 1
    return done / (time.perf_counter() - started), (_page_faults() - faults) / done


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def in_a_process(preset: str, overrides: list[str], keep: bool = True) -> tuple[float, float]:
    """`measure` in a process of its own: the allocator's settings can't be taken back."""
    call = f"import benchmarks.learner_speed as b; print(list(b.measure({preset!r}, {overrides!r}, {keep})))"
    done = subprocess.run([sys.executable, "-c", call], cwd=ROOT, capture_output=True, text=True, check=True)
    rate, faults = json.loads(done.stdout.splitlines()[-1])
    return rate, faults


def main() -> None:
    settings = {"float32": (False, False), "bf16": (True, False), "compiled": (False, True), "both": (True, True)}
    figures: dict[str, dict[str, float]] = {}
    faults: dict[str, dict[str, float]] = {}
    for preset in ("pong", "atari"):
        rates, pages = figures.setdefault(preset, {}), faults.setdefault(preset, {})
        off = ["learner.bf16=false", "learner.compile=false"]
        rates[PLAIN], pages[PLAIN] = in_a_process(preset, off, keep=False)
        for name, (bf16, compiled) in settings.items():
            overrides = [f"learner.bf16={str(bf16).lower()}", f"learner.compile={str(compiled).lower()}"]
            label = f"freed memory kept, {name}"
            rates[label], pages[label] = in_a_process(preset, overrides)
        batch = load(preset).config.learner.batch_size
        show(f"learner, {preset} preset, batch {batch}, one thread", "updates/s", rates, PLAIN)
    write(ROOT / "results" / "bench" / "learner.json", {"updates_per_s": figures, "page_faults_per_update": faults})


if __name__ == "__main__":
    main()
