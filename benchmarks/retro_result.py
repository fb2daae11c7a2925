"""Turns a finished run on a game of stable-retro into a result to commit.

    python -m benchmarks.retro_result RUN results/sonic/NAME [--episodes N] [--commit COMMIT] [--contest N]

Copies settings, evaluations, curves and metrics (thinned), plays greedy episodes of the best weights, films the best of
them, and writes what was measured where as result.json. With --contest N more are played by the contest's rules (sticky
frame skip). COMMIT is the one the run was trained at, when that is not this one.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from apex_ray.config.load import load_run_config
from apex_ray.config.schema import ApexConfig
from apex_ray.evaluation import evaluate_run
from apex_ray.process import prepare_process
from apex_ray.report.plots import learning_curve
from apex_ray.retro import stages
from apex_ray.types import EvaluationResult
from benchmarks.machine import facts, write
from trainkit.config import to_yaml
from trainkit.runs import open_run

ROWS_KEPT = 120
CONTEST = ["env.sticky_actions=0.25"]


def collect(run: Path, out: Path, episodes: int, commit: str | None, contest: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    config = load_run_config(run).config
    greedy = load_run_config(run, ["evaluation.epsilon=0"]).config
    best = evaluate_run(run, greedy, "best", episodes, out / "best.mp4")
    learning_curve(run, best.scores_of)
    names = ["evaluations.csv", "learning_curve.png"]
    if (run / stages.TRAINING_FILE).exists():
        stages.progress_plot(run, best.scores_of)
        names += [stages.TRAINING_FILE, stages.EVALUATION_FILE, stages.PLOT_FILE]
    for name in names:
        if (run / name).exists():
            shutil.copy(run / name, out / name)
    (out / "config.yaml").write_text(to_yaml(_portable(config)))
    lines = (run / "metrics.jsonl").read_text().splitlines()
    kept = lines[:: max(len(lines) // ROWS_KEPT, 1)]
    (out / "metrics.jsonl").write_text("\n".join([*kept, lines[-1]]) + "\n")
    last = json.loads(lines[-1])
    figures: dict[str, Any] = {
        "env": config.env.id,
        "scores of": best.scores_of or "the game",
        "trained at commit": commit or facts()["commit"],
        "training, seconds": last["time_s"],
        "emulator frames": last["frames"],
        "updates": last["updates"],
        "best weights, update": best.updates,
        "greedy episodes": _summary(best),
    }
    if contest:
        rules = load_run_config(run, ["evaluation.epsilon=0", *CONTEST]).config
        figures["greedy episodes by the contest's rules"] = _summary(evaluate_run(run, rules, "best", contest, None))
    write(out / "result.json", figures)
    print(json.dumps(figures, indent=1))


def _portable(config: ApexConfig) -> ApexConfig:
    env = config.env.model_copy(update={"kwargs": {**config.env.kwargs, "roms": None}})
    return config.model_copy(update={"runs_dir": "runs", "env": env})


def _summary(result: EvaluationResult) -> dict[str, Any]:
    found: dict[str, Any] = {
        "episodes": len(result.returns),
        "mean return": result.mean_return,
        "std": float(np.std(result.returns)),
        "min": min(result.returns),
        "max": max(result.returns),
        "mean length, steps": float(np.mean(result.lengths_steps)),
    }
    rows = stages.by_stage(result.episode_values)
    found["by stage"] = {r.stage: _known(r) for r in rows}
    found["mean score"] = float(np.mean([r.mean_score for r in rows]))
    return found


def _known(row: stages.StageRow) -> dict[str, float]:
    """Without the stage's name, and without the x of games that have none."""
    return {k: v for k, v in vars(row).items() if k != "stage" and v == v}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("out", type=Path)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--commit")
    parser.add_argument("--contest", type=int, default=0)
    asked = parser.parse_args()
    prepare_process(threads=1)
    collect(open_run(asked.run), asked.out, asked.episodes, asked.commit, asked.contest)


if __name__ == "__main__":
    main()
