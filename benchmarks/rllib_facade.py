"""ApexDQN, RLlib's Algorithm, beside `apex-ray train`, with the same settings, in turns.

python -m benchmarks.rllib_facade [SECONDS [ROUNDS]]

Each side runs for SECONDS and is measured over the second half by the rows that its run wrote. The facade is called as
scripts call it: `train()` again and again, iterations of ITERATION_S seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.machine import ROOT, write
from benchmarks.system_speed import SETTINGS
from benchmarks.table import show

SECONDS, ROUNDS, ITERATION_S = 120, 3, 5.0
UNITS = ("env steps/s", "updates/s")


def facade(words: list[str]) -> None:
    """In a process of its own: trains until the run's limit."""
    from apex_ray.config.load import load
    from apex_ray.rllib import ApexDQNConfig

    config = ApexDQNConfig.of_run(load("atari", words).config)
    config.min_time_s_per_iteration, config.min_sample_timesteps_per_iteration = ITERATION_S, 0
    algorithm = config.build_algo()
    while not algorithm.train()["done"]:
        pass
    algorithm.stop()


def command_line(words: list[str]) -> None:
    subprocess.run(
        [sys.executable, "-m", "apex_ray", "train", "atari", *words], cwd=ROOT, stdout=subprocess.DEVNULL, check=True
    )


def through_the_facade(words: list[str]) -> None:
    program = f"import benchmarks.rllib_facade as b; b.facade({words!r})"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)


SIDES = {"apex-ray train": command_line, "ApexDQN": through_the_facade}


def rates(side: str, seconds: int) -> dict[str, float]:
    """Of one run of that side."""
    with tempfile.TemporaryDirectory() as runs:
        SIDES[side]([*SETTINGS, f"stop.after_s={seconds}", f"runs_dir={runs}"])
        (folder,) = Path(runs).iterdir()
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    half = [row for row in rows if row["time_s"] >= seconds / 2]
    elapsed = half[-1]["time_s"] - half[0]["time_s"]
    steps, updates = ((half[-1][name] - half[0][name]) / elapsed for name in ("frames", "updates"))
    return {"env steps/s": steps / 4, "updates/s": updates}


def main(seconds: int = SECONDS, rounds: int = ROUNDS) -> None:
    seen: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for turn in range(rounds):
        for side in list(SIDES)[:: 1 if turn % 2 == 0 else -1]:  # neither is always the first
            seen[side].append(rates(side, seconds))
    medians = {unit: {side: median(one[unit] for one in seen[side]) for side in SIDES} for unit in UNITS}
    for unit in UNITS:
        show(f"{seconds} s, the second half, median of {rounds}", unit, medians[unit], "apex-ray train")
    ratios = {unit: medians[unit]["ApexDQN"] / medians[unit]["apex-ray train"] for unit in UNITS}
    figures = {"rounds": seen, "medians": medians, "ApexDQN / apex-ray train": ratios}
    write(ROOT / "results" / "bench" / "rllib_facade.json", figures)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
