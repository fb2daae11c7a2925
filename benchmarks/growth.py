"""What a run's processes hold, sampled while it lasts, and how fast each of it grows."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import psutil

from apex_ray.report.process_memory import SHARED_MEMORY, resident_bytes

KINDS = (
    "memory_bytes", "shared_memory_bytes", "gcs_bytes", "raylet_bytes", "disk_bytes", "files", "threads", "processes",
)  # fmt: skip
Sample = dict[str, float]


def family(roots: Iterable[int]) -> list[psutil.Process]:
    """These processes and all that they started."""
    found: dict[int, psutil.Process] = {}
    for pid in roots:
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(pid)
            found |= {process.pid: process for process in [root, *root.children(recursive=True)]}
    return list(found.values())


def sample(time_s: float, roots: Iterable[int], folders: Iterable[Path]) -> Sample:
    """Of the families of `roots` now: KINDS; memory_bytes is without shared memory, disk_bytes is of `folders`."""
    processes = family(roots)
    sizes = resident_bytes(process.pid for process in processes)
    shared = sizes.pop(SHARED_MEMORY)
    of_ray, files, threads = {"gcs_server": 0, "raylet": 0}, 0, 0
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            name = process.name()
            files, threads = files + process.num_fds(), threads + process.num_threads()
            if name in of_ray:
                of_ray[name] += sizes.get(process.pid, 0)
    return {
        "time_s": time_s,
        "memory_bytes": sum(sizes.values()),
        "shared_memory_bytes": shared,
        "gcs_bytes": of_ray["gcs_server"],
        "raylet_bytes": of_ray["raylet"],
        "disk_bytes": sum(map(_size, folders)),
        "files": files,
        "threads": threads,
        "processes": len(processes),
    }


def _size(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(root, name)).st_size
    return total


def slopes(samples: list[Sample], from_s: float) -> dict[str, dict[str, float]]:
    """Of each kind from `from_s` on: its median, and a straight line's rise an hour as a number and of the median."""
    steady = [s for s in samples if s["time_s"] >= from_s]
    hours = np.array([s["time_s"] for s in steady]) / 3600
    found = {}
    for kind in KINDS:
        values = np.array([s[kind] for s in steady])
        rise, middle = float(np.polyfit(hours, values, 1)[0]), float(np.median(values))
        found[kind] = {"median": middle, "an_hour": rise, "share_an_hour": rise / middle if middle else 0.0}
    return found


def write_csv(path: Path, samples: list[Sample]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["time_s", *KINDS])
        writer.writeheader()
        writer.writerows({name: round(value) for name, value in s.items()} for s in samples)
