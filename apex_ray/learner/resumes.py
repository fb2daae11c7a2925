"""resumes.jsonl in a run's folder: a line for each time that the run was resumed, written before anything starts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from trainkit.runs import append

FILE = "resumes.jsonl"


def note(run: Path, checkpoint: str, changed: Mapping[str, tuple[Any, Any]]) -> None:
    """Add a line: when, from which checkpoint, and each setting that changed with [before, after]."""
    line = {"time": f"{datetime.now().astimezone():%Y-%m-%dT%H:%M:%S%z}", "checkpoint": checkpoint, "changed": changed}
    append(run / FILE, (json.dumps(line) + "\n").encode())


def count(run: Path) -> int:
    """How often the run was resumed, the tries that ended before their first checkpoint among them."""
    file = run / FILE
    return file.read_bytes().count(b"\n") if file.exists() else 0
