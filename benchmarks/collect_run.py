"""Turns a finished run folder into a result to commit: python -m benchmarks.collect_run RUN results/NAME [COMMIT]

Copies settings, evaluations, learning curve and metrics (thinned), plots the memory of all processes, plays 20 full
episodes with the best weights, and writes what was measured where as result.json. COMMIT is the one it was trained at,
when that is not this one.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np

from apex_ray.config.load import load_run_config
from apex_ray.evaluation import evaluate_run
from apex_ray.report.plots import learning_curve, memory_plot
from benchmarks.machine import facts, write
from trainkit.config import to_yaml
from trainkit.run_layout import read_record
from trainkit.runs import open_run

ROWS_KEPT = 300


def collect(run: Path, out: Path, commit: str | None) -> None:
    out.mkdir(parents=True, exist_ok=True)
    config = load_run_config(run).config
    learning_curve(run)
    for name in ("evaluations.csv", "learning_curve.png"):
        shutil.copy(run / name, out / name)
    (out / "config.yaml").write_text(to_yaml(config.model_copy(update={"runs_dir": "runs"})))
    lines = (run / "metrics.jsonl").read_text().splitlines()
    kept = lines[:: max(len(lines) // ROWS_KEPT, 1)]
    (out / "metrics.jsonl").write_text("\n".join([*kept, lines[-1]]) + "\n")
    memory_plot(run / "memory.csv", out / "memory.png")
    best = evaluate_run(run, config, "best", 20, None)
    last = json.loads(lines[-1])
    figures = {
        "env": config.env.id,
        "seed": config.seed,
        "train_command": _train_command(run),
        "trained_at_commit": commit or facts()["commit"],
        "training_s": last["time_s"],
        "frames": last["frames"],
        "updates": last["updates"],
        "evaluations": _evaluations(run),
        "best_checkpoint": {
            "episodes": len(best.returns),
            "mean": best.mean_return,
            "std": float(np.std(best.returns)),
            "min": min(best.returns),
            "max": max(best.returns),
            "human_normalised": best.human_normalised,
        },
        "resident_bytes": _resident(run),
    }
    write(out / "result.json", figures)
    print(json.dumps(figures, indent=1))


def _train_command(run: Path) -> str:
    """As it was given first, without where runs are written to."""
    given = read_record(run)["starts"][0]["command"].split()
    words = [word for word in given[given.index("train") :] if not word.startswith("runs_dir=")]
    return " ".join(["apex-ray", *words])


def _evaluations(run: Path) -> list[dict[str, float]]:
    with (run / "evaluations.csv").open() as file:
        return [{"wall_s": float(r["wall_s"]), "mean": float(r["mean"])} for r in csv.DictReader(file)]


def _resident(run: Path) -> dict[str, float]:
    """Total of all processes: when the replay became full, and the largest and last after that."""
    totals: dict[float, int] = {}
    with (run / "memory.csv").open() as file:
        for row in csv.DictReader(file):
            at = float(row["time_s"])
            totals[at] = totals.get(at, 0) + int(row["resident_bytes"])
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    full = next((r["time_s"] for r in rows if (r.get("replay_fill") or 0) > 0.985), None)
    if full is None:
        return {"replay_full_s": float("nan")}
    after = [size for at, size in sorted(totals.items()) if at >= full + 30]
    return {"replay_full_s": full, "then": after[0], "largest": max(after), "last": after[-1]} if after else {}


if __name__ == "__main__":
    collect(open_run(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None)
