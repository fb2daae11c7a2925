"""Agent steps a second of 1, 2, 4 and 8 actors on an environment that sleeps: the framework's own overhead.

An actor's environments sleep one after the other, so that a core serves several actors and what is lost with more of
them is lost to inference, chunks, Ray and replay.
"""

from __future__ import annotations

from benchmarks.machine import ROOT, write
from benchmarks.system_speed import apex_ray_system
from benchmarks.table import show

COUNTS = (1, 2, 4, 8)
SETTINGS = [
    "env.id=Sleepy-v0",
    "env.import_modules=[benchmarks.synthetic_env]",
    "env.frame_skip=1",
    "network.conv_channels=[8]",
    "network.conv_kernels=[8]",
    "network.conv_strides=[8]",
    "network.hidden=32",
    "actors.envs_per_actor=8",
    "replay.capacity_transitions=50000",
    "replay.min_transitions=5000",
    "learner.batch_size=32",
    "learner.threads=1",
    "evaluation.every_s=100000",
    "evaluation.final=false",
    "evaluation.video=false",
    "checkpoint.every_s=100000",
    # One update for many steps: the learner is not what is measured.
    "replay.samples_per_insert=0.05",
]


def main() -> None:
    runs = {k: apex_ray_system([*SETTINGS, f"actors.count={k}"], seconds=50) for k in COUNTS}
    # frames are counted with a skip of 1 here, and apex_ray_system divides by Atari's 4
    rates = {f"{k} actors": 4 * runs[k]["env steps/s"] for k in COUNTS}
    show("scaling, environments that sleep", "agent steps/s", rates, "1 actors")
    efficiency = {k: rates[f"{k} actors"] / (k * rates["1 actors"]) for k in COUNTS}
    figures = {
        "agent_steps_per_s": rates,
        "efficiency": efficiency,
        "driver_cores": {k: runs[k]["driver, cores"] for k in COUNTS},
    }
    print(efficiency, figures["driver_cores"])
    write(ROOT / "results" / "bench" / "scaling.json", figures)


if __name__ == "__main__":
    main()
