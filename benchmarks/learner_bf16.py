"""An update in float32 beside one in bfloat16, by the time of a core, in turns: does `learner.bf16=auto` pay here?

python -m benchmarks.learner_bf16
"""

from __future__ import annotations

import time
from statistics import median

from apex_ray.agent.build import build_agent
from apex_ray.config.load import load
from apex_ray.learner.learner import Learner
from apex_ray.process import prepare_process
from benchmarks.learner_speed import SPEC, fixed_batch
from benchmarks.machine import ROOT, write
from benchmarks.table import show

ROUNDS, ROUND_S = 10, 0.5


def ms_an_update(preset: str, compiled: bool) -> dict[str, float]:
    """Of a core, with the preset's batch."""
    learners, batch = {}, fixed_batch(load(preset).config.learner.batch_size)
    for name, bf16 in {"float32": "false", "bfloat16": "true"}.items():
        overrides = [f"learner.bf16={bf16}", f"learner.compile={str(compiled).lower()}", "learner.device=cpu"]
        config = load(preset, overrides).config
        learners[name] = Learner(build_agent(config, SPEC), config)
        for _ in range(3):
            learners[name].update(batch)
    seen: dict[str, list[float]] = {name: [] for name in learners}
    for _ in range(ROUNDS):
        for name, learner in learners.items():
            done, started = 0, time.process_time()
            while time.process_time() - started < ROUND_S:
                learner.update(batch)
                done += 1
            seen[name].append(1e3 * (time.process_time() - started) / done)
    return {name: median(costs) for name, costs in seen.items()}


def main() -> None:
    prepare_process(1)
    found: dict[str, dict[str, float]] = {}
    for preset in ("pong", "atari"):
        for compiled in (False, True):
            name = f"{preset}{', compiled' if compiled else ''}"
            found[name] = ms_an_update(preset, compiled)
            show(name, "ms of a core an update", found[name], "float32")
    write(ROOT / "results" / "bench" / "learner_bf16.json", found)


if __name__ == "__main__":
    main()
