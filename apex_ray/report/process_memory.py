"""The memory that a run holds, measured so that summing over its processes counts nothing twice.

Ray maps its object store into every process, so summed resident sizes (RSS) count it once a process. Measured here:

- a process: its proportional set size without shared memory, from /proc/<pid>/smaps_rollup (Pss - Pss_Shmem): the
  resident pages it has alone, and of pages shared with n processes (program files, memory copied on fork) 1/n;
- shared memory, once, under the key SHARED_MEMORY: the larger of the /dev/shm files that the processes hold open (as
  allocated now, each counted once; Ray's store is one, and keeps pages whose process has ended) and of what they map
  (Pss_Shmem, which also sees shared memory without an open file).

Swapped-out pages and GPU memory are not in it. Without smaps_rollup (macOS): the unique set size, or else RSS, that
psutil gives, and no shared memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import psutil

from trainkit.files import append_csv

SHARED_MEMORY = 0  # no process has this id
COLUMNS = ("time_s", "process", "pid", "resident_bytes")

_PROC = Path("/proc")


def resident_bytes(pids: Iterable[int]) -> dict[int, int]:
    """Bytes by process id, and by SHARED_MEMORY; their sum is what `pids` hold. Ended processes are left out."""
    sizes: dict[int, int] = {}
    mapped, files = 0, {}
    for pid in pids:
        try:
            sizes[pid], shared = _own_and_shared(pid)
            mapped += shared
            files.update(_shared_files(pid))
        except (OSError, psutil.Error):  # ended meanwhile, or another user's
            continue
    return {**sizes, SHARED_MEMORY: max(mapped, sum(files.values()))}


def _own_and_shared(pid: int) -> tuple[int, int]:
    """(Pss without shared memory, shared memory's part of Pss) in bytes."""
    rollup = _PROC / str(pid) / "smaps_rollup"
    if not _PROC.joinpath("self", "smaps_rollup").exists():
        process = psutil.Process(pid)
        try:
            return int(process.memory_full_info().uss), 0
        except psutil.AccessDenied:
            return int(process.memory_info().rss), 0
    kib: dict[str, int] = {}
    for line in rollup.read_text().splitlines()[1:]:
        name, value = line.split(":")
        kib[name] = int(value.split()[0])
    shared = kib.get("Pss_Shmem", 0)
    return (kib["Pss"] - shared) * 1024, shared * 1024


def _shared_files(pid: int) -> dict[tuple[int, int], int]:
    """(device, inode) and allocated bytes of each /dev/shm file that the process holds open."""
    found: dict[tuple[int, int], int] = {}
    folder = _PROC / str(pid) / "fd"
    if not folder.exists():
        return found
    for entry in os.scandir(folder):
        try:
            # Ray unlinks its store's file after opening it; the link then reads "/dev/shm/plasma... (deleted)".
            if os.readlink(entry.path).startswith("/dev/shm/"):
                info = os.stat(entry.path)
                found[info.st_dev, info.st_ino] = info.st_blocks * 512
        except OSError:  # closed meanwhile
            continue
    return found


class MemoryLog:
    """Appends to a CSV what this process and all that it started hold, one line a process (COLUMNS)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.total_bytes = 0  # of the last sample; 0 before the first

    def sample(self, time_s: float) -> None:
        processes = _family()
        sizes = resident_bytes(processes)
        names = {**processes, SHARED_MEMORY: "shared memory"}
        self.total_bytes = sum(sizes.values())
        lines = [(f"{time_s:.1f}", names[pid], pid, size) for pid, size in sizes.items()]
        append_csv(self._path, COLUMNS, lines)


def _family() -> dict[int, str]:
    """Process id and name of this process and all its descendants."""
    me = psutil.Process()
    family = {me.pid: "driver"}
    for child in me.children(recursive=True):
        try:
            family[child.pid] = _name(child.cmdline()) or child.name()
        except psutil.Error:
            continue
    return family


def _name(command: list[str]) -> str | None:
    """What a process of a run is by its command line; None for others.

    Workers title themselves "ray::ActorNode.run" while in a method and "ray::ActorNode" or "ray::IDLE" otherwise: the
    class stays. Ray's own services are scripts, such as .../ray/_private/log_monitor.py.
    """
    if command and command[0].startswith("ray::"):
        return command[0].removeprefix("ray::").split(".")[0].split(" ")[0]
    if any("emulator_process" in part for part in command):  # the module that a plug-in's emulators run
        return "emulator"
    scripts = [Path(part).stem for part in command if part.endswith(".py") and "/ray/" in part]
    return scripts[0] if scripts else None
