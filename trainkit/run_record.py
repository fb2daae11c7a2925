"""What a run was started with: versions, source, command, machine; and how it ended. An entry a start in run.json."""

from __future__ import annotations

import json
import os
import platform
import shlex
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from trainkit.errors import UserError, os_errors
from trainkit.files import atomic_write
from trainkit.run_layout import RECORD_FILE, read_record

PACKAGES = ("apex-ray", "ray", "torch", "numpy", "gymnasium", "ale-py", "stable-retro")
SOURCE = Path(__file__).parents[1]
RUNNING, FINISHED, INTERRUPTED, FAILED = "running", "finished", "interrupted", "failed"
LOST = "lost"  # its process is gone and has not said how it ended: killed, or the machine went down
UNKNOWN = "unknown"
SAME_PROCESS_S = 5.0  # by which a process's start may seem to move when the machine's clock is set


def record_start(run: Path, trainer: str) -> None:
    """Add an entry to `run`'s record: at its start, and each time it goes on. UserError when it can't be written."""
    starts = [*_starts(read_record(run)), _start()]
    with os_errors(f"run folder {str(run)!r} cannot be written"):
        atomic_write(run / RECORD_FILE, (json.dumps({"trainer": trainer, "starts": starts}, indent=1) + "\n").encode())


@contextmanager
def recorded(run: Path, trainer: str) -> Iterator[Callable[[str, str], None]]:
    """As `record_start`, and the entry gets how the block ended: an error by itself, else what is called with.

    That is FINISHED or INTERRUPTED, and why. An end that a full disk has no room for is lost.
    """
    record_start(run, trainer)
    try:
        yield lambda state, why: _record_end(run, state, why)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            _record_end(run, INTERRUPTED, "Ctrl-C")
        else:
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            _record_end(run, FAILED, f"{kind}{error}")
        raise


def _record_end(run: Path, state: str, why: str) -> None:
    record = read_record(run)
    starts = _starts(record)
    if not starts or starts[-1].get("pid") != os.getpid():
        return  # it was replaced since
    starts[-1]["ended"] = {"at": _now(), "state": state, "why": why}
    with suppress(OSError):
        atomic_write(run / RECORD_FILE, (json.dumps(record, indent=1) + "\n").encode())


def _starts(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of a record; none where it is not as this program writes it."""
    starts = record.get("starts")
    whole = isinstance(starts, list) and all(isinstance(start, dict) for start in starts)
    return starts if whole and starts else []


def state_of(run: Path) -> tuple[str, str]:
    """(RUNNING, FINISHED, INTERRUPTED, FAILED, LOST or UNKNOWN, why) of a run's last start."""
    starts = _starts(read_record(run))
    if not starts:
        return UNKNOWN, "no record of its start"
    last = starts[-1]
    ended = last.get("ended")
    if isinstance(ended, dict):
        return str(ended.get("state", UNKNOWN)), str(ended.get("why", ""))
    pid, began, host = last.get("pid"), last.get("began"), last.get("host")
    if not isinstance(pid, int) or not isinstance(began, int | float):
        return UNKNOWN, "started by a version that did not record ends"
    if host != socket.gethostname():
        return UNKNOWN, f"started on {host}: whether process {pid} runs there can't be seen from here"
    if _runs(pid, began):
        return RUNNING, f"process {pid}"
    return LOST, f"process {pid} is gone and did not say why"


def _runs(pid: int, began: float) -> bool:
    """Whether process `pid` is alive and the one that began then, seconds since 1970: numbers are used again."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - began) <= SAME_PROCESS_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _start() -> dict[str, Any]:
    return {
        "id": uuid.uuid4().hex,
        "at": _now(),
        "pid": os.getpid(),
        "began": psutil.Process().create_time(),
        "command": shlex.join(sys.orig_argv),
        "folder": str(Path.cwd()),
        "source": _source(),
        "versions": {name: found for name in PACKAGES if (found := installed(name))},
        "python": platform.python_version(),
        "host": socket.gethostname(),
        "system": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": _gpus(),
    }


def installed(package: str) -> str | None:
    """Its version; None where it is not there, or runs from a source folder."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _source() -> dict[str, Any] | None:
    """The commit that this program runs from, and whether files differ from it; None where it is no checkout."""
    if not (SOURCE / ".git").exists():
        return None
    commit = _output("git", "-C", str(SOURCE), "rev-parse", "HEAD")
    changes = _output("git", "-C", str(SOURCE), "status", "--porcelain", "--untracked-files=no")
    return None if commit is None else {"commit": commit, "dirty": bool(changes)}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _gpus() -> list[str]:
    listed = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return listed.splitlines() if listed else []


def _output(*command: str) -> str | None:
    """What a command prints; None where it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10.0, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
