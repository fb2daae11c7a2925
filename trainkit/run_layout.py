"""What a run folder's files are called, and what its name and its record say of its start."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

CONFIG_FILE = "config.yaml"
RECORD_FILE = "run.json"  # who trained it, and with what (run_record.py)
STOP_FILE = "stop"  # in the folder of a data-parallel run that is asked to end
LATEST = "latest"
NAMED = re.compile(r"-(\d{8}-\d{6})(?:-(\d+))?$")  # how create_run's names end
EXPECTED_RUN = "expected the folder of an earlier run, the beginning of its name, or latest"


def read_record(run: Path) -> dict[str, Any]:
    """What run.json says; empty where there is none, or none that can be read."""
    try:
        record = json.loads((run / RECORD_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def start_ids(record: Mapping[str, Any]) -> list[str]:
    """What run.json calls the run's starts by, the last at the end; "" for those of versions without."""
    return [str(start.get("id", "")) for start in record.get("starts", [])]


def started(run: Path) -> tuple[str, int, str]:
    """What sorts runs by their start: the name's time, else when the settings were written, or the folder changed."""
    if NAMED.search(run.name):
        return named_start(run.name)
    written = next(path for path in (run / CONFIG_FILE, run) if path.exists())
    return f"{datetime.fromtimestamp(written.stat().st_mtime):%Y%m%d-%H%M%S}", 1, run.name


def named_start(name: str) -> tuple[str, int, str]:
    """What sorts run folders by the time in their names; those without one come first."""
    named = NAMED.search(name)
    return (named[1], int(named[2] or 1), name) if named else ("", 1, name)
