"""Hours of Pong at full speed: does anything grow?

    python -m benchmarks.soak results/soak [--hours 2] [-- settings ...]

A run of the preset `pong` with a replay that is full after a fraction of the time, with checkpoints, snapshots of
replay and evaluations. Memory, shared memory, files, threads and Ray's own processes are sampled every EVERY_S; a
straight line through the second half says how much each grows in an hour.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.growth import KINDS, sample, slopes, write_csv
from benchmarks.machine import ROOT, write

EVERY_S = 20.0
SETTINGS = ["replay.capacity_transitions=100000", "stop.after_s={seconds}", "stop.evaluation_return=null"]
SETTINGS += ["checkpoint.replay=true", "checkpoint.every_s=120"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("settings", nargs="*", default=[])
    words = parser.parse_args()
    seconds = int(3600 * words.hours)
    with tempfile.TemporaryDirectory() as runs:
        given = [text.format(seconds=seconds) for text in SETTINGS] + [f"runs_dir={runs}", *words.settings]
        command = [sys.executable, "-m", "apex_ray", "train", "pong", *given]
        run, began, samples = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL), time.monotonic(), []
        try:
            while run.poll() is None:
                time.sleep(EVERY_S)
                samples.append(sample(time.monotonic() - began, [run.pid], [Path(runs)]))
                write_csv(words.folder / "samples.csv", samples)
        finally:
            run.terminate()
            run.wait()
            for file in Path(runs).glob("*/memory.csv"):  # by process
                shutil.copy(file, words.folder)
    found = slopes([s for s in samples if s["time_s"] < seconds], seconds / 2)
    write(words.folder / "slopes.json", {"hours": words.hours, **found})
    table = Table("what", "median", "an hour", "of the median", title=f"the second half of {words.hours:g} hours")
    for kind in KINDS:
        f = found[kind]
        table.add_row(kind, f"{f['median']:,.0f}", f"{f['an_hour']:+,.0f}", f"{f['share_an_hour']:+.2%}")
    Console().print(table)


if __name__ == "__main__":
    main()
