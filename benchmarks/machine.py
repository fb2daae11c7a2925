"""Where and from what a figure was measured."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
PACKAGES = ("torch", "ray", "ale-py", "stable-retro", "numpy", "numba", "gymnasium")


def facts() -> dict[str, Any]:
    """Machine, commit, versions and command, to stand beside every result."""
    cpu = next((x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")), ": unknown")
    return {
        "cpu": cpu.split(":")[1].strip(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": _gpu(),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": {name: _version(name) for name in PACKAGES},
        "commit": COMMIT,
        "command": " ".join(["python", *(Path(a).name if Path(a).is_absolute() else a for a in sys.orig_argv[1:])]),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _git(*words: str) -> str:
    """What git says; nothing where there is none."""
    try:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""


def _commit() -> str:
    dirty = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!results")
    return (_git("rev-parse", "--short=12", "HEAD") or "unknown") + (" with changes" if dirty else "")


COMMIT = _commit()  # as a benchmark begins: in hours another may be checked out


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none"


def write(path: Path, figures: Any) -> None:
    """Write figures with their facts as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"figures": figures, **facts()}, indent=1) + "\n")
