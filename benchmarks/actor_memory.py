"""Memory of an actor's process with 32 games of Pong, beside an earlier commit.

    python -m benchmarks.actor_memory COMMIT

Private: pages that no other process has (unique set size). Share: of shared pages, 1/n of those that n processes have
(proportional set size), without Ray's object store.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from apex_ray.report.process_memory import resident_bytes
from benchmarks.earlier import tree_of
from benchmarks.growth import family
from benchmarks.machine import ROOT, write

LOOKS, EVERY_S, PATIENCE_S = 10, 3.0, 120.0
SETTINGS = ["pong", "actors.count=1", "actors.envs_per_actor=32", "replay.capacity_transitions=50000"]
SETTINGS += ["stop.evaluation_return=null", "stop.after_s=600", "evaluation.every_s=600", "evaluation.final=false"]


def measured(tree: Path, inference: str) -> dict[str, float]:
    """MiB of the actor of one run of that source tree, medians of LOOKS while it learns."""
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, "-m", "apex_ray", "train", *SETTINGS, f"actors.inference={inference}"]
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        run = subprocess.Popen([*command, f"runs_dir={runs}"], cwd=tree, env=environment, stdout=subprocess.DEVNULL)
        try:
            actor = _actor(run.pid)
            looks = list[tuple[int, int]]()
            while len(looks) < LOOKS:
                time.sleep(EVERY_S)
                looks.append((actor.memory_full_info().uss, resident_bytes([actor.pid])[actor.pid]))
        finally:
            run.terminate()
            run.wait()
    private, share = (statistics.median(values) / 2**20 for values in zip(*looks, strict=True))
    return {"private": private, "share": share}


def _actor(root: int) -> psutil.Process:
    """Waits for it to act."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        for process in family([root]):
            try:
                if process.cmdline()[:1] == ["ray::ActorNode.run"]:
                    return process
            except (psutil.Error, IndexError):
                continue
        time.sleep(0.5)
    raise RuntimeError(f"no actor within {PATIENCE_S:g} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    words = parser.parse_args()
    with tree_of(words.commit) as old:
        found = {
            inference: {"before": measured(old, inference), "after": measured(ROOT, inference)}
            for inference in ("local", "central")
        }
    table = Table("MiB of an actor with 32 games", f"{words.commit}: private", "share", "now: private", "share")
    for inference, both in found.items():
        cells = [f"{both[when][kind]:.0f}" for when in ("before", "after") for kind in ("private", "share")]
        table.add_row(f"{inference} inference", *cells)
    Console().print(table)
    write(ROOT / "results" / "bench" / "actor_memory.json", {"beside": words.commit, **found})


if __name__ == "__main__":
    main()
