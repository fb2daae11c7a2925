"""A random fault every so often, for half an hour, on two nodes: is any step lost or stored twice, and does it learn?

    python -m benchmarks.chaos results/chaos [--minutes 30] [--every 20] [--seed 1]

CartPole by an agent that numbers every step (benchmarks/audit.py) on a Ray of two nodes in network namespaces of their
own, joined by a cable; the run folder is on a small disk of its own. Faults: SIGKILL of any part's process, SIGSTOP for
STOPPED_S, the cable out for 5 or 90 s, a full disk for FULL_S, a whole node lost and started again. A fault has
recovered when every actor is there and the learner has made updates in two rows since it ended.

Steps that are missing are counted with the fault that they were made in: processes that were killed had some in hand,
and shards what came after their last snapshot. A run that ends kills its actors too.

Needs root, for the namespaces and the disk.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import psutil

from benchmarks.audit import SEEN_BY_THE_LEARNER, Audit, Collector, audit
from benchmarks.growth import Sample, family, sample, slopes, write_csv
from benchmarks.machine import write
from tests.cluster.heads import Head, two_hosts

STOPPED_S, FULL_S, SAMPLE_EVERY_S, DISK_BYTES = 30.0, 20.0, 10.0, 2**30
LOST_AGAIN_S = 10.0  # from the loss of a node to its new start
UNSAVED_S = 15.0  # how old a step may be that a shard had in no snapshot yet
PARTS = ("ActorNode", "ReplayNode", "WeightsNode", "MetricsNode", "LearnerNode", "EvaluatorNode")
FAULTS = [
    *(f"kill {part}" for part in PARTS),
    *(f"stop {part}" for part in PARTS),
    "cable out 5 s", "cable out 90 s", "disk full", "node lost",
]  # fmt: skip
# To what holds steps; a part that is stopped for longer than cluster.stall_s is replaced, too.
DEADLY = tuple(f"{how} {part}" for how in ("kill", "stop") for part in ("ActorNode", "ReplayNode"))
DEADLY += ("node lost", "cable out 90 s")
SETTINGS = [
    "cartpole", "agent=benchmarks.audit:MarkedAgent", "cluster.address=auto", "actors.count=2", "replay.shards=2",
    "checkpoint.replay=true", "checkpoint.every_s=5", "report.every_s=1", "evaluation.every_s=30", "cluster.stall_s=20",
    "cluster.max_restarts=10000", "stop.evaluation_return=null", "evaluation.video=false", "evaluation.final=false",
]  # fmt: skip


@dataclass
class Fault:
    at_s: float
    what: str
    ended_s: float = 0.0
    rows: int = 0  # of the run's metrics at its end
    recovered_s: float | None = None  # after its end


class System:
    """The two nodes, the driver, and what can be done to them."""

    def __init__(self, stack: ExitStack, disk: Path, scratch: Path, seconds: float) -> None:
        self._stack, self._disk, self._seen = stack, disk, scratch / "learner.bin"
        self._first, self._second = stack.enter_context(two_hosts())
        assert self._first.enter, "needs root"
        self.head = Head(scratch, self._first)
        os.environ[SEEN_BY_THE_LEARNER] = str(self._seen)
        stack.enter_context(self.head.plain(cpus=2))
        self._node = ExitStack()
        stack.callback(lambda: self._node.close())
        self._start_node()
        words = ["train", *SETTINGS, f"runs_dir={disk / 'runs'}", f"stop.after_s={seconds}"]
        self.driver = self.head.start("apex-ray", *words, RAY_ADDRESS=self.head.address)
        stack.callback(lambda: self.driver.terminate())

    def _start_node(self) -> None:
        self._node.enter_context(self.head.node(1, self._second))

    @property
    def roots(self) -> list[int]:
        """Every process that this program started, and the driver."""
        return [child.pid for child in psutil.Process().children()]

    def parts(self, name: str) -> list[psutil.Process]:
        found = []
        for process in family(self.roots):
            with contextlib.suppress(psutil.Error):
                if f"ray::{name}" in " ".join(process.cmdline()[:1]):
                    found.append(process)
        return found

    def do(self, what: str, rng: np.random.Generator) -> bool:
        """Returns when the fault is over: False where the part that it was for is not there."""
        kind, _, part = what.partition(" ")
        if kind in ("kill", "stop"):
            victims = self.parts(part)
            if not victims:
                return False
            victim = victims[rng.integers(len(victims))]
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGKILL if kind == "kill" else signal.SIGSTOP)
                if kind == "stop":
                    time.sleep(STOPPED_S)
                    victim.send_signal(signal.SIGCONT)
        elif kind == "cable":
            cable = [*self._first.enter, "ip", "link", "set", "cable0"]
            subprocess.run([*cable, "down"], check=True)
            time.sleep(float(part.split()[1]))
            subprocess.run([*cable, "up"], check=True)
        elif kind == "disk":
            filler = self._disk / "filler"
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 2**16)
            time.sleep(FULL_S)
            filler.unlink()
        else:
            self._node.close()
            time.sleep(LOST_AGAIN_S)
            self._start_node()
        return True

    def mend(self) -> None:
        """A node that Ray took for lost while the cable was out ends itself: another starts in its place."""
        raylets = [process for process in family(self.roots) if process.name() == "raylet"]
        if len(raylets) < 2:
            self._node.close()
            self._start_node()


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def rows_of(runs: Path) -> list[dict[str, Any]]:
    found = []
    for file in runs.glob("*/metrics.jsonl"):
        for line in file.read_text().splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
    return found


def drain(lines: Iterable[str], log: Path) -> None:
    """Write the driver's lines to `log` until it ends, so that it never waits for room in its pipe."""
    with log.open("w", buffering=1) as file:
        for line in lines:
            file.write(line)


def settled(rows: list[dict[str, Any]]) -> bool:
    """Whether every actor is in the two newest rows, and updates were made between them."""
    newest = rows[-2:]
    return (
        len(newest) == 2 and all(r["actors_alive"] == 2 for r in newest) and rows[-1]["updates"] > rows[-2]["updates"]
    )


def missing_by_fault(found: Audit, faults: list[Fault], began: float, ended: float) -> dict[str, int]:
    """How many steps are missing that were made in each kind of fault, by the kind's name; "the end", "no fault".

    `began` and `ended`: the run's, in seconds since 1970.
    """
    counts = Counter[str]()
    for steps, _, until in found.gaps:
        at_s = until - began
        inside = [f for f in faults if f.at_s - UNSAVED_S < at_s < f.ended_s + (f.recovered_s or math.inf)]
        deadly = [f for f in inside if f.what.startswith(DEADLY)]
        at_end = "the end" if until > ended - UNSAVED_S else "no fault"
        counts[(deadly or inside)[0].what if inside else at_end] += steps
    return dict(counts)


class Watch(Thread):
    """Looks, until the driver ends, at what replay has written, at what the processes hold, and at who recovered."""

    def __init__(self, system: System, runs: Path, kept: Path) -> None:
        super().__init__(daemon=True)
        self.faults, self.samples = list[Fault](), list[Sample]()
        self._system, self._runs, self._kept = system, runs, kept
        self._collectors, self._began = dict[Path, Collector](), time.monotonic()

    @property
    def now_s(self) -> float:
        return time.monotonic() - self._began

    def run(self) -> None:
        while self._system.driver.poll() is None:
            for run in self._runs.glob("*"):
                self._collectors.setdefault(run, Collector(run, self._kept)).look()
            rows = rows_of(self._runs)
            for fault in self.faults:
                if fault.recovered_s is None and fault.ended_s and settled(rows[fault.rows :]):
                    fault.recovered_s = self.now_s - fault.ended_s
            if not self.samples or self.now_s - self.samples[-1]["time_s"] > SAMPLE_EVERY_S:
                self.samples.append(sample(self.now_s, self._system.roots, [self._runs]))
            time.sleep(0.5)


def chaos(folder: Path, minutes: float, every_s: float, seed: int) -> dict[str, Any]:
    rng, seconds = np.random.default_rng(seed), 60 * minutes
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        disk = stack.enter_context(small_disk(scratch / "disk"))
        system, runs = System(stack, disk, scratch, seconds), disk / "runs"
        driver, watch = system.driver, Watch(system, runs, disk / "kept")
        assert driver.stdout is not None
        reader = Thread(target=drain, args=(driver.stdout, folder / "driver.log"), daemon=True)
        reader.start()
        watch.start()
        while not settled(rows_of(runs)) and driver.poll() is None:
            time.sleep(1)
        order = list[str]()
        while driver.poll() is None and watch.now_s < seconds - 120:
            order = order or list(rng.permutation(FAULTS))
            fault = Fault(watch.now_s, order.pop())
            if not system.do(fault.what, rng):
                continue
            fault.ended_s, fault.rows = watch.now_s, len(rows_of(runs))
            watch.faults.append(fault)
            print(f"{fault.at_s:7.0f} s  {fault.what}", flush=True)
            next_s = fault.ended_s + every_s
            while watch.now_s < next_s and driver.poll() is None:
                time.sleep(min(5.0, every_s))
                system.mend()
        while driver.poll() is None and watch.now_s < seconds + 120:
            time.sleep(1)
        ended, end, began = driver.poll(), time.time(), time.time() - watch.now_s
        driver.terminate()
        reader.join()
        watch.join()
        faults, samples, rows = watch.faults, watch.samples, rows_of(runs)
        found = audit(disk / "kept", scratch / "learner.bin")
    write_csv(folder / "samples.csv", samples)
    with (folder / "faults.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(Fault(0, ""))))
        writer.writeheader()
        writer.writerows({k: round(v, 1) if isinstance(v, float) else v for k, v in asdict(f).items()} for f in faults)
    return {
        "minutes": minutes,
        "faults": len(faults),
        "recovered": sum(f.recovered_s is not None for f in faults),
        "best_return": max((row.get("evaluation_best") or 0 for row in rows), default=0),
        "updates": max((row["updates"] for row in rows), default=0),
        "ended": ended,
        "audit": {
            "streams": found.streams,
            "steps": found.steps,
            "twice": found.twice,
            "unknown": found.unknown,
            "missing": found.missing,
            "missing_by_fault": missing_by_fault(found, faults, began, end),
        },
        "growth": slopes(samples, samples[-1]["time_s"] / 2) if len(samples) > 4 else {},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=20.0, help="seconds between one fault's end and the next")
    parser.add_argument("--seed", type=int, default=1)
    words = parser.parse_args()
    words.folder.mkdir(parents=True, exist_ok=True)
    figures = chaos(words.folder, words.minutes, words.every, words.seed)
    write(words.folder / "chaos.json", figures)
    json.dump(figures, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
