"""Tasks that need a memory, by a network with none, an LSTM and a WaveNet, several seeds each.

    python -m benchmarks.memory_tasks results/memory [--tasks cartpole_masked tmaze] [--seeds 1 2 3] [--minutes 8]

Each run is the committed preset with `network.memory` on top, until an evaluation reaches the preset's goal or the time
is up. Runs that are in results.csv already are left out: the script goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.machine import ROOT, write

MEMORIES = ("none", "lstm", "wavenet")
SETTINGS = {
    "cartpole_masked": [],
    "tmaze": [],
    "tmaze_100": ["env.kwargs={length: 100}", "sequences.length_steps=160", "sequences.period_steps=80",
                  "actors.chunk_transitions=160", "td.discount=0.995"],
}  # fmt: skip
REACH = {"tmaze_100": "network.memory_kwargs={layers_per_cycle: 7}"}  # a WaveNet's, in steps: 127
ROW = ["task", "memory", "seed", "hours", "frames", "mean"]


def play(task: str, memory: str, seed: int, minutes: float) -> list[list[object]]:
    """The rows of a run's evaluations."""
    with tempfile.TemporaryDirectory() as runs:
        words = [task.removesuffix("_100"), *SETTINGS[task], f"network.memory={memory}", f"seed={seed}"]
        words += [REACH[task]] if memory == "wavenet" and task in REACH else []
        words += [f"runs_dir={runs}", f"stop.after_s={60 * minutes:g}", "evaluation.video=false"]
        command = [sys.executable, "-m", "apex_ray", "train", *words]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        (file,) = Path(runs).glob("*/evaluations.csv")
        with file.open() as lines:
            found = list(csv.DictReader(lines))
    return [[task, memory, seed, float(r["wall_s"]) / 3600, int(r["frames"]), float(r["mean"])] for r in found]


def draw(folder: Path, rows: list[dict[str, str]]) -> None:
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    _, axes = plt.subplots(1, len(tasks), figsize=(4.5 * len(tasks), 3.5), squeeze=False)
    for axis, task in zip(axes[0], tasks, strict=True):
        for memory, colour in zip(MEMORIES, ("tab:gray", "tab:blue", "tab:orange"), strict=True):
            mine = [row for row in rows if (row["task"], row["memory"]) == (task, memory)]
            for seed in dict.fromkeys(row["seed"] for row in mine):
                one = [row for row in mine if row["seed"] == seed]
                label = memory if one and seed == mine[0]["seed"] else None
                frames = [float(row["frames"]) / 1000 for row in one]
                axis.plot(frames, [float(row["mean"]) for row in one], color=colour, marker=".", label=label)
        axis.set(title=task, xlabel="thousand steps", ylabel="evaluation return")
        axis.legend()
    plt.tight_layout()
    plt.savefig(folder / "tasks.png", dpi=120)
    plt.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tasks", nargs="+", choices=list(SETTINGS), default=["cartpole_masked", "tmaze"])
    parser.add_argument("--memories", nargs="+", choices=MEMORIES, default=MEMORIES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--minutes", type=float, default=8.0)
    words = parser.parse_args()
    words.folder.mkdir(parents=True, exist_ok=True)
    path = words.folder / "tasks.csv"
    if not path.exists():
        path.write_text(",".join(ROW) + "\n")
    for seed in words.seeds:
        for task in words.tasks:
            for memory in words.memories:
                with path.open() as file:
                    rows = list(csv.DictReader(file))
                if any((r["task"], r["memory"], r["seed"]) == (task, memory, str(seed)) for r in rows):
                    continue
                new = play(task, memory, seed, words.minutes)
                print(task, memory, seed, f"{max(float(str(row[-1])) for row in new):.1f}", flush=True)
                with path.open("a", newline="") as file:
                    csv.writer(file).writerows(new)
    with path.open() as file:
        draw(words.folder, list(csv.DictReader(file)))
    write(words.folder / "tasks.json", {"minutes": words.minutes, "rows": "tasks.csv"})


if __name__ == "__main__":
    main()
