"""Rows of what a data-parallel trainer measures: metrics.jsonl, TensorBoard, Prometheus, and the console.

The first worker writes (`TrainingLog`), the process that started the run tells (`followed`): they may be on two
machines that share the run folder.
"""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import Any, TextIO

from trainkit.exported import Metric
from trainkit.files import atomic_write
from trainkit.rows import FILE, Rows, is_row, repair
from trainkit.words import Say

BUSY = "busy.txt"  # what the first worker does while it writes no rows
TERMINAL_S, FILE_S = 5.0, 30.0  # seconds between two lines of progress
ROW_S = 10.0  # seconds after which a row is due, however few updates there were


class TrainingLog:
    """Appends rows; one writer a run."""

    def __init__(
        self, run: Path, step: int, metrics: Mapping[str, Metric], export: Callable[[Mapping[str, float]], None]
    ) -> None:
        """Go on at `step`: rows after it, written by workers that were lost since, are dropped.

        `export` shows a row to Prometheus.
        """
        path, self._busy = run / FILE, run / BUSY
        if path.exists():
            repair(path, is_row)
            rows = path.read_bytes().splitlines(keepends=True)
            atomic_write(path, b"".join(row for row in rows if json.loads(row)["step"] <= step))
        compared = [f"{metrics[name].group}/{name}" for name in metrics if name.startswith("validation_")]
        self._rows = Rows(run, metrics, "step", compared, lambda first: step + 1)
        self._export = export
        self._written = time.monotonic()

    def due(self, step: int, every_steps: int) -> bool:
        """Whether a row is to be written: every so many steps, and where steps are slow, by time."""
        return step % every_steps == 0 or time.monotonic() - self._written >= ROW_S

    def busy(self, what: str) -> None:
        """Say what is done until the next row, such as a validation, for who watches."""
        with suppress(OSError):  # a word for the console: not worth a run
            atomic_write(self._busy, what.encode())

    def write(self, row: Mapping[str, float]) -> None:
        """One row of known metrics, `step` among them; one that a full disk has no room for is lost."""
        self._written = time.monotonic()
        with suppress(OSError):  # the checkpoints, which the run is for, tell of it
            self._busy.unlink(missing_ok=True)
            self._rows.write(row)
            self.board.flush()
        self._export(row)

    @property
    def board(self) -> Any:
        """TensorBoard's, for what is no number."""
        return self._rows.board(0)

    def close(self) -> None:
        self._rows.close()


class ByTime:
    """Tells a line of progress when there was none for a while: a few seconds in a terminal, more in a file."""

    def __init__(self, say: Say, every_s: float | None = None, stream: TextIO | None = None) -> None:
        """`stream`: where `say` writes; default: standard output."""
        self._say, self._last = say, time.monotonic()
        self.every_s = (TERMINAL_S if (stream or sys.stdout).isatty() else FILE_S) if every_s is None else every_s

    @property
    def due(self) -> bool:
        return time.monotonic() - self._last >= self.every_s

    def __call__(self, text: str, now: bool = False) -> None:
        """Tell it if the time has come, or `now`."""
        if now or self.due:
            self._last = time.monotonic()
            self._say(text)


@contextmanager
def followed(
    run: Path, line: Callable[[Mapping[str, float]], str], say: Say, every_s: float | None = None
) -> Iterator[None]:
    """While the block runs, tell by time how the first worker's rows go on: `line(row)` of the newest of each kind.

    The first row is told at once, and at the end those of the last of each kind. Kinds differ by what they hold, such
    as a validation. Where no row comes, what is waited for is told instead.
    """
    file, end, progress = run / FILE, threading.Event(), ByTime(say, every_s)
    known = _whole_rows(file)

    def follow() -> None:
        nonlocal known
        waiting, anything, last = dict[frozenset[str], str](), False, time.monotonic()
        while True:
            ending = end.wait(min(0.5, progress.every_s))
            rows = _whole_rows(file)
            # A worker that goes back to a checkpoint takes the rows after it away.
            same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(known, rows, strict=False)))
            for text in rows[same:]:
                row = {name: math.nan if value is None else value for name, value in json.loads(text).items()}
                waiting.pop(kind := frozenset(row), None)  # to the end: told in the order that they came in
                waiting[kind] = line(row)
            if len(rows) > same:
                last = time.monotonic()
            known = rows
            with suppress(OSError):  # who read our output may have gone; the run is in its folder all the same
                if waiting and (ending or not anything or progress.due):
                    for some in waiting.values():
                        progress(some, now=True)
                    waiting, anything = {}, True
                elif not ending and progress.due:
                    progress(f"{_busy(run, anything)}, {time.monotonic() - last:.0f} s")
            if ending:
                (run / BUSY).unlink(missing_ok=True)
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def _busy(run: Path, began: bool) -> str:
    try:
        return (run / BUSY).read_text()
    except OSError:
        return "waiting for the next update" if began else "starting the workers"


def _whole_rows(file: Path) -> list[bytes]:
    return file.read_bytes().rpartition(b"\n")[0].splitlines() if file.exists() else []
