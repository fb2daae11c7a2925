"""The runs in a folder as a table: what each is, how far it has come, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

import yaml

from apex_ray.config.load import TRAINER
from apex_ray.report.reading import Row, read_csv, read_jsonl
from trainkit.errors import UserError
from trainkit.rows import FILE
from trainkit.run_layout import CONFIG_FILE, NAMED, RECORD_FILE, read_record, started
from trainkit.run_record import state_of
from trainkit.runs import based, uri_of_runs
from trainkit.storage import local_path
from trainkit.stored_runs import open_all
from trainkit.words import table

DAMAGED = "damaged"
MARKS = (CONFIG_FILE, RECORD_FILE, FILE, "checkpoints")  # a folder with one of these is a run, or was
TAIL_BYTES = 2**16  # of the metrics: the newest row is in them
HEAD = ("run", "state", "environment", "updates", "frames", "hours", "last", "best", "")


@dataclass(frozen=True)
class Listed:
    """A run's line; None where nothing is known."""

    name: str
    state: str  # DAMAGED, or as run_record.state_of
    why: str  # of the state
    env_id: str | None
    row: Row = field(default_factory=dict)  # the newest of its metrics
    last: float | None = None  # mean return of the last evaluation
    best: float | None = None  # of the best


def run_table(folder: str) -> str:
    """A line for each run of this trainer in a folder, the newest first, or one that says there is none.

    It may be a URI. A relative folder that is not here lies under APEX_RUNS_DIR, as run folders do. UserError for what
    is no folder.
    """
    where = local_path(folder)
    if (uri := uri_of_runs(folder)) is not None and not where.exists():
        return _table(open_all(uri), uri)
    where = where if where.exists() else based(where)
    if not where.is_dir():
        wrong = "is a file" if where.exists() else "does not exist"
        raise UserError(f"runs folder {str(where)!r} {wrong}; expected the folder that run folders are made in")
    if (where / CONFIG_FILE).exists():
        raise UserError(f"{str(where)!r} is a run folder; expected the one that it lies in, {str(where.parent)!r}")
    found = [entry for entry in where.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    return _table(found, str(where))


def _table(folders: Sequence[Path], where: str) -> str:
    runs = [run for run in folders if NAMED.search(run.name) or any((run / mark).exists() for mark in MARKS)]
    lines = [line for run in sorted(runs, key=started, reverse=True) if (line := listed(run)) is not None]
    return table(HEAD, [_cells(line) for line in lines]) if lines else f"{where} holds no runs of {TRAINER}"


def listed(run: Path) -> Listed | None:
    """A run's line; None for a run of another trainer."""
    record, wrong = read_record(run), list[str]()
    if record.get("trainer", TRAINER) != TRAINER:
        return None
    if not record and (run / RECORD_FILE).exists():
        wrong.append(f"{RECORD_FILE} does not read")
    env_id, row, last, best = None, Row(), None, None
    try:
        settings = yaml.safe_load((run / CONFIG_FILE).read_bytes())
        if not record and isinstance(settings, dict) and settings and "env" not in settings:
            return None  # of a version that kept no record
        env_id = str(settings["env"]["id"])
    except FileNotFoundError:
        wrong.append(f"{CONFIG_FILE} is missing")
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        wrong.append(f"{CONFIG_FILE} does not read")
    try:
        row = (read_jsonl(run / FILE, TAIL_BYTES) or [row])[-1]
        last = (read_csv(run / "evaluations.csv") or [Row()])[-1].get("mean")
        best = _best(run, row)
    except OSError as error:
        wrong.append(f"{Path(str(error.filename)).name}: {error.strerror}")
    state, why = (DAMAGED, "; ".join(wrong)) if wrong else state_of(run)
    return Listed(run.name, state, why, env_id, row, last, best)


def _best(run: Path, row: Row) -> float | None:
    """Of the best weights kept, which the final evaluation may have made; else as the newest row has it.

    evaluations.csv does not tell those that were cut, which are never the best.
    """
    known: list[Any] = [row.get("evaluation_best")]
    with suppress(OSError, ValueError, KeyError, TypeError):
        known.append(json.loads((run / "checkpoints" / "best" / "counters.json").read_bytes())["best_return"])
    return max((float(value) for value in known if isinstance(value, int | float)), default=None)


def _cells(line: Listed) -> list[str]:
    updates, frames, time_s = (line.row.get(name) for name in ("updates", "frames", "time_s"))
    return [
        line.name,
        line.state,
        line.env_id or "-",
        "-" if updates is None else f"{updates:,.0f}",
        "-" if frames is None else f"{frames:,.0f}",
        "-" if time_s is None else f"{time_s / 3600:.2f}",
        "-" if line.last is None else f"{line.last:z.2f}",
        "-" if line.best is None else f"{line.best:z.2f}",
        shorten(line.why, 100, placeholder=" ..."),
    ]
