"""On a GPU: the learner's bare loop at batch 512, and the whole system on all cores: python -m benchmarks.gpu_speed

Without a GPU it says so and writes nothing. Horgan et al. 2018, with 360 cores and one GPU: 19 updates and 12,500 agent
steps a second.
"""

from __future__ import annotations

import json

import torch

from benchmarks.learner_speed import in_a_process
from benchmarks.machine import ROOT, write
from benchmarks.system_speed import apex_ray_system
from benchmarks.table import show

SECONDS = 120
SYSTEM = [
    "learner.compile=true",
    "replay.capacity_transitions=1000000",
    "evaluation.every_s=100000",
    "evaluation.final=false",
    "checkpoint.every_s=100000",
]

HOW = {
    "eager": ["learner.compile=false"],
    "compiled": ["learner.compile=true"],
    "CUDA graphs": ["learner.compile=true", "learner.cuda_graphs=true"],
}
CENTRAL = ["actors.inference=central", "actors.groups=2"]
SYSTEMS = {
    "frames from replay, local inference": [],
    "frames on the GPU, local inference": ["replay.frames=learner"],
    "frames on the GPU, central inference": ["replay.frames=learner", *CENTRAL],
}


def main() -> None:
    if not torch.cuda.is_available():
        print("GPU: not yet measured (this machine has none)")
        return
    loops = {}
    for bf16 in ("false", "true"):
        for how, settings in HOW.items():
            overrides = ["learner.device=cuda", f"learner.bf16={bf16}", *settings]
            loops[f"{'bf16' if bf16 == 'true' else 'float32'}, {how}"], _ = in_a_process("atari", overrides)
    show("learner on a GPU, batch 512, fixed batch", "updates/s", loops, "float32, eager")
    systems = {name: apex_ray_system([*SYSTEM, *settings], SECONDS) for name, settings in SYSTEMS.items()}
    print(json.dumps(systems, indent=1))
    write(ROOT / "results" / "bench" / "gpu.json", {"learner_updates_per_s": loops, "systems": systems})


if __name__ == "__main__":
    main()
