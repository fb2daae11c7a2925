"""CartPole on Ray, several seeds one after the other: python -m benchmarks.cartpole_seeds results/cartpole [SEED ...]

Each run is the committed preset as a user starts it. A seed passes when an evaluation of 20 full episodes reaches 475.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.machine import ROOT, write

GOAL = 475.0


def one(seed: int, runs: str) -> dict[str, float | None]:
    started = time.monotonic()
    command = [sys.executable, "-m", "apex_ray", "train", "cartpole", f"seed={seed}", f"runs_dir={runs}"]
    subprocess.run([*command, f"name=seed{seed}"], check=True)
    wall_s = time.monotonic() - started
    (run,) = Path(runs).glob(f"seed{seed}-*")
    with (run / "evaluations.csv").open() as file:
        rows = [(float(r["wall_s"]), float(r["mean"]), int(r["episodes"])) for r in csv.DictReader(file)]
    reached = next((at for at, mean, episodes in rows if mean >= GOAL and episodes >= 20), None)
    return {"seed": seed, "reached_475_s": reached, "whole_command_s": wall_s, "final_mean": rows[-1][1]}


def main(out: Path, seeds: list[int]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as runs:
        figures = [one(seed, runs) for seed in seeds]
        plt.figure(figsize=(6, 3.5))
        for run in sorted(Path(runs).iterdir()):
            with (run / "evaluations.csv").open() as file:
                rows = list(csv.DictReader(file))
            name = run.name.split("-")[0]
            plt.plot([float(r["wall_s"]) for r in rows], [float(r["mean"]) for r in rows], marker="o", label=name)
            shutil.copy(run / "evaluations.csv", out / f"{name}.csv")
    plt.axhline(GOAL, color="grey", linestyle=":")
    plt.xlabel("wall-clock seconds")
    plt.ylabel("evaluation mean of 20 episodes")
    plt.legend()
    plt.tight_layout()
    plt.savefig(out / "learning_curve.png", dpi=120)
    write(out / "result.json", figures)
    print(figures)


if __name__ == "__main__":
    main(ROOT / sys.argv[1], [int(s) for s in sys.argv[2:]] or [1, 2, 3])
