"""Every process of a running CartPole is killed three times: does the run go on, and how soon?

    python -m benchmarks.kills results/kills [--roles learner driver ...] [--kills 3]

A run for each role, on a Ray of its own, of the preset `cartpole` until an evaluation reaches RETURN (of `airstriker`
for the emulator, until the last kill). A kill is SIGKILL; the next comes when the run has recovered from the last and
made UPDATES_BETWEEN more updates. Recovered: the loss is counted and the learner has made updates, or for an actor
frames have come, since. The driver's run is resumed; a node is one of two, with all actors on it, and started anew.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
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
from tests.cluster.heads import Head

RETURN, LIMIT_S, UPDATES_BETWEEN = 475.0, 900.0, 300
DRIVER, NODE, EMULATOR = "driver", "node", "emulator_process"
RESTARTED_AFTER_S = 10.0  # a node, from its loss
# By role: the class of its process, how many of them there are before the one that is killed, and settings.
ROLES: dict[str, tuple[str, int, list[str]]] = {
    "actor": ("ActorNode", 0, []),
    "replay-0 of 1": ("ReplayNode", 0, []),
    "replay-1 of 2": ("ReplayNode", 1, ["replay.shards=2"]),
    "weights": ("WeightsNode", 0, []),
    "metrics": ("MetricsNode", 0, []),
    "learner": ("LearnerNode", 0, []),
    "evaluator": ("EvaluatorNode", 0, []),
    "emulator": (EMULATOR, 0, ["actors.count=1", "actors.envs_per_actor=2"]),
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
            worked = "frames" if self.kind in ("ActorNode", EMULATOR) else "updates"
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
            if any(kind in part for part in process.cmdline()[: None if kind == EMULATOR else 1]):
                found.append(process)
    return sorted(found, key=lambda process: process.create_time())


def run(role: str, kills: int) -> dict[str, Any]:
    """A run in this process, one of whose parts is killed."""
    kind, nth, settings = ROLES[role]
    killer = Killer(kind, nth, kills)
    preset = "airstriker" if kind == EMULATOR else "cartpole"

    def on_row(row: Mapping[str, float]) -> bool:
        killer(row)
        return kind == EMULATOR and len(killer.recoveries_s) == kills

    with tempfile.TemporaryDirectory() as runs:
        outcome = train(load_config(preset, [*SETTINGS, *settings, f"runs_dir={runs}"]).config, on_row=on_row)
    recoveries = [round(seconds, 1) for seconds in killer.recoveries_s]
    return {"recoveries_s": recoveries, "best_return": outcome.best_return, "ended": outcome.reason}


def rows_of(runs: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in runs.glob("*/metrics.jsonl") for line in file.read_text().splitlines(True)]


def newer(runs: Path, than: float, program: subprocess.Popen[Any]) -> dict[str, Any]:
    """The first row of more than so many updates. RuntimeError when the program ends before."""
    while True:
        with contextlib.suppress(ValueError):  # a line that is being written
            if (rows := rows_of(runs)) and rows[-1]["updates"] > than:
                return rows[-1]
        if program.poll() is not None:
            raise RuntimeError(f"it ended with {program.returncode}")
        time.sleep(0.2)


def run_driver(kills: int) -> dict[str, Any]:
    """A program of its own, killed with no word to anybody, and resumed."""
    recoveries: list[float] = []
    with tempfile.TemporaryDirectory() as runs:
        words = ["cartpole", *SETTINGS, "checkpoint.replay=true", f"runs_dir={runs}"]
        while True:
            command = [sys.executable, "-m", "apex_ray", "train", *words]
            started = time.monotonic()
            program = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
            rows = rows_of(Path(runs))
            row = newer(Path(runs), rows[-1]["updates"] if rows else 0, program)
            if words[0] == "--resume":
                recoveries.append(round(time.monotonic() - started, 1))
            if len(recoveries) == kills:
                program.wait()
                break
            newer(Path(runs), row["updates"] + UPDATES_BETWEEN, program)
            program.kill()
            program.wait()
            words = ["--resume", str(next(Path(runs).iterdir()))]
        best = max(row.get("evaluation_best") or 0 for row in rows_of(Path(runs)))
    return {"recoveries_s": recoveries, "best_return": best, "ended": f"exit code {program.returncode}"}


def run_node(kills: int) -> dict[str, Any]:
    """Two nodes, the second with all actors on it; it loses its power, and another comes."""
    recoveries: list[float] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        head, runs = Head(Path(folder)), Path(folder) / "runs"
        stack.enter_context(head.plain(cpus=1))
        node = contextlib.ExitStack()
        stack.callback(lambda: node.close())
        node.enter_context(head.node(2))
        words = ["cartpole", *SETTINGS, "actors.count=2", "cluster.address=auto", f"runs_dir={runs}"]
        program = head.start("apex-ray", "train", *words, RAY_ADDRESS=head.address)
        threading.Thread(target=program.communicate, daemon=True).start()
        row = newer(runs, UPDATES_BETWEEN, program)
        for _ in range(kills):
            row = newer(runs, row["updates"] + UPDATES_BETWEEN, program)
            lost = time.monotonic()
            node.close()
            time.sleep(RESTARTED_AFTER_S)
            node.enter_context(head.node(2))
            while (row := newer(runs, row["updates"], program))["actors_alive"] < 2 or row["frames_per_s"] == 0:
                pass
            recoveries.append(round(time.monotonic() - lost, 1))
        program.wait()
        best = max(row.get("evaluation_best") or 0 for row in rows_of(runs))
    return {"recoveries_s": recoveries, "best_return": best, "ended": f"exit code {program.returncode}"}


OTHERS = {DRIVER: run_driver, NODE: run_node}
EVERY = [*ROLES, *OTHERS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--roles", nargs="+", choices=EVERY, default=EVERY)
    parser.add_argument("--kills", type=int, default=3)
    words = parser.parse_args()
    figures = {}
    for role in words.roles:
        figures[role] = OTHERS[role](words.kills) if role in OTHERS else run(role, words.kills)
        write(words.folder / "kills.json", figures)
    medians = {role: median(f["recoveries_s"]) for role, f in figures.items() if f["recoveries_s"]}
    show(f"CartPole to {RETURN:g}, {words.kills} kills a role", "s to recover", medians, next(iter(medians)))


if __name__ == "__main__":
    main()
