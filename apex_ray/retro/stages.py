"""What became of each stage: totals, a table, files of them and the progress plot."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path

import numpy as np
from matplotlib.ticker import EngFormatter

from apex_ray.report import plots
from apex_ray.report.episodes import Reporter
from apex_ray.retro.stage_end import StageEnd
from apex_ray.types import EpisodeValues, EvaluationResult
from trainkit.files import append_csv

TRAINING_FILE, EVALUATION_FILE, PLOT_FILE = "stages.csv", "stage_evaluations.csv", "stages.png"
RECENT = 20
MAX_NAMED = 12  # lines with a name of their own in the plot


@dataclass(frozen=True)
class StageRow:
    """One stage over some episodes; a line of the table and of the files."""

    stage: str
    episodes: int
    best_x: float  # pixels; nan for games without an x
    mean_score: float  # of training the last 20 episodes' only
    best_score: float
    completed: int  # episodes that reached the stage's end


@dataclass
class StageTotals:
    """Adds up the episodes of one stage."""

    episodes: int = 0
    best_x: float = float("nan")
    best_score: float = -float("inf")
    completed: int = 0
    scores: deque[float] = field(default_factory=deque)

    def add(self, end: StageEnd) -> None:
        self.episodes += 1
        self.completed += end.completed
        self.best_score = max(self.best_score, end.score)
        if end.best_x is not None:
            self.best_x = float(np.fmax(self.best_x, end.best_x))
        self.scores.append(end.score)

    def row(self, stage: str) -> StageRow:
        mean = float(np.mean(self.scores))
        return StageRow(stage, self.episodes, self.best_x, mean, self.best_score, self.completed)


def by_stage(episodes: Iterable[EpisodeValues]) -> list[StageRow]:
    """A row for each stage that was played, in the order in which they come first."""
    totals: dict[str, StageTotals] = {}
    for end in map(StageEnd.of, episodes):
        totals.setdefault(end.stage, StageTotals()).add(end)
    return [t.row(stage) for stage, t in totals.items()]


def table(rows: Sequence[StageRow], scores_of: str = "") -> str:
    """The rows as text, with the mean over stages below; the heading says whose scores they are."""
    width = max([len(r.stage) for r in rows] + [len("mean of stages")])
    lines = [f"scores of {scores_of}, not of the game"] if scores_of else []
    lines.append(
        f"{'stage':{width}}  {'episodes':>8}  {'best x':>7}  {'mean score':>10}  {'best score':>10}  completed"
    )
    for r in rows:
        x = "-" if np.isnan(r.best_x) else f"{r.best_x:,.0f}"
        lines.append(
            f"{r.stage:{width}}  {r.episodes:>8}  {x:>7}  {r.mean_score:>10,.0f}  {r.best_score:>10,.0f}  "
            f"{r.completed:>9}"
        )
    if len(rows) > 1:
        mean, done = np.mean([r.mean_score for r in rows]), sum(r.completed > 0 for r in rows)
        lines.append(
            f"{'mean of stages':{width}}  {'':>8}  {'':>7}  {mean:>10,.0f}  {'':>10}  {done:>5} of {len(rows)}"
        )
    return "\n".join(lines)


class StageReporter(Reporter):
    """Training's totals to `run`/stages.csv, where they changed, and evaluations to `run`/stage_evaluations.csv."""

    def __init__(self, scores_of: str = "") -> None:
        self._scores_of = scores_of
        self._totals: dict[str, StageTotals] = {}
        self._written: dict[str, int] = {}  # episodes of each stage

    def add(self, values: EpisodeValues) -> None:
        end = StageEnd.of(values)
        self._totals.setdefault(end.stage, StageTotals(scores=deque(maxlen=RECENT))).add(end)

    def rows(self) -> list[StageRow]:
        return [totals.row(stage) for stage, totals in sorted(self._totals.items())]

    def write(self, run: Path, rows: Sequence[StageRow], progress: Mapping[str, float]) -> None:
        """Stages without a new episode are left out."""
        new = [r for r in rows if r.episodes != self._written.get(r.stage)]
        self._append(run / TRAINING_FILE, new, progress)
        self._written.update({r.stage: r.episodes for r in new})

    def write_evaluation(self, run: Path, result: EvaluationResult, time_s: float) -> None:
        progress = {"time_s": time_s, "frames": result.frames, "updates": result.updates}
        self._append(run / EVALUATION_FILE, by_stage(result.episode_values), progress)

    def _append(self, path: Path, rows: Sequence[StageRow], progress: Mapping[str, float]) -> None:
        if not rows:
            return
        at = [f"{progress['time_s']:.1f}", int(progress["frames"]), int(progress["updates"])]
        header = ["time_s", "frames", "updates", *(f.name for f in fields(StageRow)), "scores_of"]
        append_csv(path, header, [[*at, *_rounded(row), self._scores_of] for row in rows])

    def table(self, episodes: Sequence[EpisodeValues]) -> str:
        return table(by_stage(episodes), self._scores_of) if episodes else ""

    def plot(self, run: Path) -> Path | None:
        return progress_plot(run, self._scores_of) if (run / TRAINING_FILE).exists() else None

    def summary(self, rows: Sequence[StageRow], plot: Path | None) -> list[str]:
        if not rows:
            return []
        heading = [f"stages {plot}; training episodes, all epsilons:"] if plot else []
        return [*heading, table(rows, self._scores_of)]


def _rounded(row: StageRow) -> list[str | int]:
    return [f"{value:.2f}" if isinstance(value, float) else value for value in astuple(row)]


def progress_plot(run: Path, scores_of: str = "") -> Path:
    """Write `run`/stages.png: the best x of training so far against frames, a line a stage; scores for want of an x."""
    with (run / TRAINING_FILE).open(newline="") as file:
        seen = list(csv.DictReader(file))
    what = "best_score" if all(r["best_x"] == "nan" for r in seen) else "best_x"
    lines: dict[str, list[tuple[float, float]]] = {}
    for r in seen:
        lines.setdefault(r["stage"], []).append((float(r["frames"]), float(r[what])))
    figure, (axes,) = plots.new_figure(1, (9.5, 5.4))
    best = sorted(lines, key=lambda stage: -max(value for _, value in lines[stage]))
    last = max((x for points in lines.values() for x, _ in points), default=0.0)
    for i, stage in enumerate(best):
        x, y = np.array(sorted(lines[stage])).T
        x, y = np.append(x, last), np.maximum.accumulate(np.append(y, y[-1]))  # a resumed run counts anew
        axes.step(x, y, where="post", linewidth=1.3, label=stage if i < MAX_NAMED else None)
    axes.set(xlabel="emulator frames", ylabel=what.replace("_", " ") + (", pixels" if what == "best_x" else ""))
    axes.xaxis.set_major_formatter(EngFormatter())
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        more = f" (of {len(best)})" if len(best) > MAX_NAMED else ""
        figure.legend(handles, labels, loc="outside right upper", frameon=False, title=f"furthest{more}", fontsize=8)
    whose = f" of {scores_of}" if scores_of else ""
    figure.suptitle(f"Best of each stage{whose}: {run.resolve().name}")
    return plots.save(figure, run / PLOT_FILE)
