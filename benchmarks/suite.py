"""Many runs, one after the other over as many days as it takes: games, settings, seeds; their curves and tables.

    python -m benchmarks.suite NAME results/FOLDER [--games ...] [--settings ...] [--seeds 1 2 3] [--minutes M]
                               [--core C]
    python -m benchmarks.suite NAME results/FOLDER --draw

NAME is one of benchmarks/suites.py. A run is a row of runs.csv, its evaluations are rows of evaluations.csv; what is
there already is not run again, so that the same command goes on after whatever stopped it. Where a run has one core to
itself, a command for each core with seeds of its own plays them side by side into the same folder. Drawn are curves by
frames and by hours, and of settings over all games the interquartile mean with bootstrap intervals and how likely each
is better than the first (Agarwal et al. 2021; `pip install rliable`).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import bootstrap

from apex_ray.report.compare import Series, mean_and_band
from benchmarks.machine import ROOT, facts, write
from benchmarks.suites import SUITES, Suite

RUN = ["game", "setting", "seed", "minutes", "hours", "frames", "updates", "last", "best", "commit", "cpu"]
EVALUATION = ["game", "setting", "seed", "hours", "frames", "mean"]
Key = tuple[str, str, str]


def key(row: dict[str, str]) -> Key:
    return row["game"], row["setting"], row["seed"]


def rows_of(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open() as file:
        return list(csv.DictReader(file))


def add(path: Path, names: list[str], rows: list[dict[str, Any]]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, names)
        if new:
            writer.writeheader()
        writer.writerows(rows)


def play_peer(script: str, game: str, seed: int, minutes: float) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(how far it came, its evaluations): of a script that prints them as lines of JSON."""
    path = Path(__file__).parent / "peers" / script
    command = [sys.executable, path.name, game, str(seed), f"{60 * minutes:g}"]
    done = subprocess.run(command, cwd=path.parent, check=True, stdout=subprocess.PIPE, text=True)
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return found[-1], found


def play_ours(words: list[str], seed: int, minutes: float) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    with tempfile.TemporaryDirectory() as runs:
        words = [*words, f"seed={seed}", f"runs_dir={runs}", f"stop.after_s={60 * minutes:g}", "evaluation.video=false"]
        command = [sys.executable, "-m", "apex_ray", "train", *words]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        (run,) = (path.parent for path in Path(runs).glob("*/config.yaml"))
        last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
        found = [
            {"hours": float(row["wall_s"]) / 3600, "frames": row["frames"], "mean": float(row["mean"])}
            for row in rows_of(run / "evaluations.csv")
        ]
    return {"hours": float(last["time_s"]) / 3600, "frames": last["frames"], "updates": last["updates"]}, found


def play(suite: Suite, game: str, setting: str, seed: int, minutes: float) -> tuple[dict[str, Any], list[Any]]:
    """(the run's row, those of its evaluations)."""
    if setting in suite.peers:
        last, found = play_peer(suite.peers[setting], game, seed, minutes)
    else:
        words = [*suite.games[game], *suite.settings[setting], *suite.extra.get((game, setting), ())]
        last, found = play_ours(words, seed, minutes)
    named, about = {"game": game, "setting": setting, "seed": seed}, facts()
    means = [row["mean"] for row in found]
    run = {**named, "minutes": minutes, **{name: last[name] for name in ("hours", "frames", "updates")}}
    run |= {"last": means[-1], "best": max(means), "commit": about["commit"], "cpu": about["cpu"]}
    return run, [{**named, **{name: row[name] for name in ("hours", "frames", "mean")}} for row in found]


def curves(folder: Path, suite: Suite, rows: list[dict[str, str]]) -> None:
    """A panel for each game, by frames above and by hours below: the mean of the seeds, and all of them.

    A run that ended early, as it had reached its goal, goes on as it was last.
    """
    games = [game for game in suite.games if any(row["game"] == game for row in rows)]
    figure, axes = plt.subplots(2, len(games), figsize=(3.6 * len(games), 6), squeeze=False)
    for column, game in enumerate(games):
        for line, x in enumerate(("frames", "hours")):
            axis, end = axes[line][column], max(float(row[x]) for row in rows if row["game"] == game)
            for number, setting in enumerate(suite.settings):
                runs: dict[str, list[dict[str, str]]] = {}
                for row in rows:
                    if (row["game"], row["setting"]) == (game, setting):
                        runs.setdefault(row["seed"], []).append(row)
                series: list[Series] = [
                    (
                        np.array([*(float(r[x]) for r in run), end]),
                        np.array([float(r["mean"]) for r in (*run, run[-1])]),
                    )
                    for run in runs.values()
                ]
                colour = f"C{number % 10}"
                for one in series:
                    axis.plot(*one, color=colour, alpha=0.3, linewidth=0.7)
                if series and (found := mean_and_band(series, bootstrap=len(series) >= 5)):
                    axis.fill_between(found[0], found[2], found[3], color=colour, alpha=0.15, linewidth=0)
                    axis.plot(found[0], found[1], color=colour, label=f"{setting} ({len(series)})")
            axis.set(xlabel=x, title=game if not line else "")
            axis.grid(True, color="#dddddd", linewidth=0.6)
    axes[0][0].set_ylabel("return of evaluations")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="lower center", ncols=4, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.03 + 0.03 * (len(suite.settings) // 4), 1, 1))
    figure.savefig(folder / "curves.png", dpi=120)
    plt.close(figure)


def aggregates(folder: Path, suite: Suite, rows: list[dict[str, str]]) -> dict[str, Any]:
    """Of the settings that have every game and as many seeds in each, by their scaled last evaluations."""
    from rliable import metrics  # its own intervals need a pandas of before 3

    games = [game for game in suite.games if any(row["game"] == game for row in rows)]
    scores, first = {}, next(iter(suite.settings))

    def last(game: str, setting: str) -> list[float]:
        return [float(row["last"]) for row in rows if (row["game"], row["setting"]) == (game, setting)]

    for setting in suite.settings:
        by_game = []
        for game in games:
            low, high = suite.scale.get(game) or (0.0, float(np.mean(last(game, first) or [1.0])))
            by_game.append([(value - low) / (high - low) for value in last(game, setting)])
        seeds = min(map(len, by_game), default=0)
        if seeds:
            scores[setting] = np.array([values[:seeds] for values in by_game]).T  # [seeds, games]
    if not scores:
        return {}
    found: dict[str, Any] = {}
    for setting, values in scores.items():
        found[setting] = {"seeds": len(values), "iqm": float(metrics.aggregate_iqm(values))}
        found[setting] |= {"mean": float(values.mean()), "iqm_95": _interval(values, metrics.aggregate_iqm)}
        if setting != first and first in scores:
            better = metrics.probability_of_improvement(scores[setting], scores[first])
            found[setting]["better_than_first"] = float(better)
    figure, axis = plt.subplots(figsize=(6, 0.35 * len(found) + 1))
    for number, one in enumerate(found.values()):
        low, high = one["iqm_95"]
        axis.barh(number, high - low, left=low, height=0.6, alpha=0.6, color=f"C{number % 10}")
        axis.plot([one["iqm"]] * 2, [number - 0.3, number + 0.3], color="black")
    axis.set_yticks(range(len(found)), list(found))
    axis.invert_yaxis()
    axis.set_xlabel("interquartile mean of scaled returns, 95% bootstrap interval")
    figure.tight_layout()
    figure.savefig(folder / "iqm.png", dpi=120)
    plt.close(figure)
    return found


def _interval(scores: np.ndarray, aggregate: Callable[[np.ndarray], float]) -> list[float]:
    """Of scores [seeds, games], 95%: seeds are drawn anew for each game by itself."""
    if len(scores) < 2:
        return [float(aggregate(scores))] * 2
    found = bootstrap(
        tuple(scores.T),
        lambda *games: aggregate(np.stack(games, axis=1)),
        vectorized=False,
        n_resamples=2000,
        method="percentile",
        rng=0,
    ).confidence_interval
    return [float(found.low), float(found.high)]


def draw(folder: Path, suite: Suite) -> None:
    runs = rows_of(folder / "runs.csv")
    curves(folder, suite, rows_of(folder / "evaluations.csv"))
    write(folder / "aggregates.json", aggregates(folder, suite, runs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=list(SUITES))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--games", nargs="+")
    parser.add_argument("--settings", nargs="+")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--core", type=int, default=0, help="where each run has one: which")
    parser.add_argument("--draw", action="store_true", help="what is there, and run nothing")
    words = parser.parse_args()
    suite, runs = SUITES[words.name], words.folder / "runs.csv"
    words.folder.mkdir(parents=True, exist_ok=True)
    if suite.one_core:
        os.sched_setaffinity(0, {words.core})  # of the processes that this one starts, too
    for seed in () if words.draw else words.seeds:
        for game in words.games or suite.games:
            for setting in words.settings or suite.settings:
                if (game, setting, str(seed)) in map(key, rows_of(runs)):
                    continue
                run, evaluations = play(suite, game, setting, seed, words.minutes or suite.minutes)
                add(words.folder / "evaluations.csv", EVALUATION, evaluations)
                add(runs, RUN, [run])
                print(game, setting, seed, f"last {run['last']:.2f}, best {run['best']:.2f}", flush=True)
    draw(words.folder, suite)


if __name__ == "__main__":
    main()
