"""Every process of a running CartPole is killed three times: does the run go on, and how soon?

    python -m benchmarks.kills results/kills [--roles learner replay-0 ...] [--kills 3]

A run for each role, on a Ray of its own, of the preset `cartpole` until an evaluation reaches RETURN. A kill is
SIGKILL; the next comes when the run has recovered from the last and made UPDATES_BETWEEN more updates. Recovered: the
loss is counted and the learner has made updates, or for an actor frames have come, since.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from apex_ray import load_config, train
from benchmarks.machine import write
from benchmarks.table import show

RETURN, LIMIT_S, UPDATES_BETWEEN = 475.0, 900.0, 300
# By role: the class of its process, how many of them there are before the one that is killed, and settings.
ROLES: dict[str, tuple[str, int, list[str]]] = {
    "actor": ("ActorNode", 0, []),
    "replay-0 of 1": ("ReplayNode", 0, []),
    "replay-1 of 2": ("ReplayNode", 1, ["replay.shards=2"]),
    "weights": ("WeightsNode", 0, []),
    "metrics": ("MetricsNode", 0, []),
    "learner": ("LearnerNode", 0, []),
    "evaluator": ("EvaluatorNode", 0, []),
    "inference": ("InferenceNode", 0, ["actors.inference=central", "actors.inference_device=cpu"]),
}
SETTINGS = [
    f"stop.evaluation_return={RETURN:g}", f"stop.after_s={LIMIT_S:g}", "report.every_s=0.5", "checkpoint.every_s=5",
    "evaluation.every_s=10", "evaluation.video=false", "evaluation.final=false", "cluster.max_restarts=10",
    "replay.samples_per_insert=8",
]  # fmt: skip


@dataclass
class Killer:
    """Kills one role's process again and again, as the rows of a run's metrics allow it."""

    kind: str
    nth: int
    kills: int
    recoveries_s: list[float] = field(default_factory=list)
    killed_at: float | None = None
    _before: Mapping[str, float] = field(default_factory=dict)  # the row at the last kill
    _next_updates: float = UPDATES_BETWEEN

    def __call__(self, row: Mapping[str, float]) -> None:
        if self.killed_at is not None:
            worked = "frames" if self.kind == "ActorNode" else "updates"
            lost = row["restarts"] > self._before["restarts"]
            # A learner goes back to its checkpoint: what counts is that updates are made.
            if lost and (row.get("updates_per_s") or 0) > 0 and row[worked] != self._before[worked]:
                self.recoveries_s.append(time.monotonic() - self.killed_at)
                self.killed_at, self._next_updates = None, row["updates"] + UPDATES_BETWEEN
        elif row["updates"] >= self._next_updates and len(self.recoveries_s) < self.kills:
            processes = _processes(self.kind)
            if len(processes) > self.nth:
                self._before, self.killed_at = dict(row), time.monotonic()
                processes[self.nth].kill()


def _processes(kind: str) -> list[psutil.Process]:
    """Of this program, in the order in which they were started."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(kind in part for part in process.cmdline()[:1]):
                found.append(process)
    return sorted(found, key=lambda process: process.create_time())


def run(role: str, kills: int) -> dict[str, Any]:
    kind, nth, settings = ROLES[role]
    killer = Killer(kind, nth, kills)
    with tempfile.TemporaryDirectory() as runs:
        outcome = train(load_config("cartpole", [*SETTINGS, *settings, f"runs_dir={runs}"]).config, on_row=killer)
    recoveries = [round(seconds, 1) for seconds in killer.recoveries_s]
    return {"recoveries_s": recoveries, "best_return": outcome.best_return, "ended": outcome.reason}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--roles", nargs="+", choices=ROLES, default=list(ROLES))
    parser.add_argument("--kills", type=int, default=3)
    words = parser.parse_args()
    figures = {}
    for role in words.roles:
        figures[role] = run(role, words.kills)
        write(words.folder / "kills.json", figures)
    medians = {role: median(f["recoveries_s"]) for role, f in figures.items() if f["recoveries_s"]}
    show(f"CartPole to {RETURN:g}, {words.kills} kills a role", "s to recover", medians, next(iter(medians)))


if __name__ == "__main__":
    main()
