"""What a memory costs the learner: transitions that it learns from a second, with an LSTM, a WaveNet and none.

    python -m benchmarks.memory_speed results/memory [--device cuda]

Fixed batches of Pong's frames: 16 sequences of 40 + 80 + 5 steps, and for none 512 single transitions. One thread on
CPUs. `memory alone`: the same without convolutions, on vectors.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from apex_ray.agent.build import build_agent
from apex_ray.config.load import load
from apex_ray.fields import stored
from apex_ray.learner.learner import Learner
from apex_ray.types import AnyArray, Batch, EnvSpec
from benchmarks.machine import write
from benchmarks.table import rates, show

SPECS = {
    "pong": EnvSpec.of_frames("ALE/Pong-v5", (84, 84), "uint8", 1, 6, 4),
    "memory alone": EnvSpec.of_frames("vectors", (32,), "float32", 1, 6),
}
SEQUENCES = ["sequences.burn_in_steps=40", "sequences.length_steps=80", "sequences.period_steps=40", "td.n_step=5"]
MEMORIES = {
    "none": ["learner.batch_size=512"],
    "lstm": [*SEQUENCES, "learner.batch_size=16", "network.memory_kwargs={units: 256}"],
    "wavenet": [*SEQUENCES, "learner.batch_size=16", "network.memory_kwargs={residual: 64, skip: 256}"],
}


def made(field_shape: tuple[int, ...], dtype: str, rng: np.random.Generator) -> AnyArray:
    high = 256 if dtype == "uint8" and len(field_shape) > 2 else 1
    return (
        rng.integers(0, high, field_shape).astype(dtype) if dtype != "float32" else rng.random(field_shape, np.float32)
    )


def learner(spec: EnvSpec, memory: str, device: str) -> tuple[Learner, Batch]:
    words = ["env.frame_stack=1", f"network.memory={memory}", f"learner.device={device}", *MEMORIES[memory]]
    torso = "conv" if spec.leaf.kind == "image" else "mlp"
    config = load("pong", [*words, f"network.torso={torso}", "learner.compile=false"]).config
    agent, rng, size = build_agent(config, spec), np.random.default_rng(0), config.learner.batch_size
    fields = {name: made((size, *field.sample_shape), field.dtype, rng) for name, field in stored(agent.fields).items()}
    fields["steps"][:] = config.td.n_step
    batch = Batch(fields, np.ones(size, np.float32), np.arange(size), np.zeros(size, np.int64))
    return Learner(agent, config), batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cpu")
    words = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, dict[str, float]] = {}
    for name, spec in SPECS.items():
        contestants = {}
        for memory in MEMORIES:
            one, batch = learner(spec, memory, words.device)
            transitions = len(batch.slots) * one.agent.learned

            def work(one: Learner = one, batch: Batch = batch, transitions: int = transitions) -> int:
                one.update(batch)
                return transitions

            contestants[memory] = work
        figures[name] = rates(contestants, seconds=5.0)
        show(f"learner, {name}, {words.device}", "transitions/s", figures[name], "none")
    write(words.folder / f"speed_{words.device}.json", {"transitions_per_s": figures})


if __name__ == "__main__":
    main()
