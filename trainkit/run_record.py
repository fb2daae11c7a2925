"""What a run was started with: versions, source, command, machine; an entry for every start in its run.json."""

from __future__ import annotations

import json
import os
import platform
import shlex
import socket
import subprocess
import sys
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from trainkit.errors import UserError
from trainkit.runs import RECORD_FILE, atomic_write, read_record

PACKAGES = ("apex-ray", "ray", "torch", "numpy", "gymnasium", "ale-py", "stable-retro")
SOURCE = Path(__file__).parents[1]


def record_start(run: Path, trainer: str) -> None:
    """Add an entry to `run`'s record: at its start, and each time it goes on. UserError when it can't be written."""
    starts = [*read_record(run).get("starts", []), _start()]
    try:
        atomic_write(run / RECORD_FILE, (json.dumps({"trainer": trainer, "starts": starts}, indent=1) + "\n").encode())
    except OSError as error:
        raise UserError(f"run folder {str(run)!r} cannot be written: {error.strerror}") from None


def _start() -> dict[str, Any]:
    return {
        "at": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": shlex.join(sys.orig_argv),
        "folder": str(Path.cwd()),
        "source": _source(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "python": platform.python_version(),
        "host": socket.gethostname(),
        "system": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": _gpus(),
    }


def _version(package: str) -> str | None:
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
