"""Rows of what a data-parallel trainer measures: metrics.jsonl, TensorBoard, Prometheus, and the console.

The first worker writes (`TrainingLog`), the process that started the run tells (`followed`): they may be on two
machines that share the run folder.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

from cluster.exported import Exported, Metric
from cluster.runs import atomic_write
from cluster.tensorboard import open_board

FILE = "metrics.jsonl"


class TrainingLog:
    """Appends rows; one writer a run."""

    def __init__(self, run: Path, step: int, metrics: Mapping[str, Metric], exported: Mapping[str, Exported]) -> None:
        """Go on at `step`: rows after it, written by workers that were lost since, are dropped."""
        from cluster.metrics import Exporter

        path = run / FILE
        if path.exists():
            rows = [row for row in path.read_text().splitlines(keepends=True) if row.endswith("\n")]
            atomic_write(path, "".join(row for row in rows if json.loads(row)["step"] <= step).encode())
        self._metrics = metrics
        self._rows = path.open("a")
        self.board: Any = open_board(
            run, step + 1, [f"{metrics[name].group}/{name}" for name in metrics if name.startswith("validation_")]
        )
        self._exporter = Exporter(exported, {"run": run.name})

    def write(self, row: Mapping[str, float]) -> None:
        """One row of known metrics, `step` among them."""
        assert row.keys() <= self._metrics.keys()
        self._rows.write(json.dumps(dict(row)) + "\n")
        self._rows.flush()
        for name, value in row.items():
            if name != "step":
                self.board.add_scalar(f"{self._metrics[name].group}/{name}", value, int(row["step"]))
        self.board.flush()
        self._exporter.export(row)

    def close(self) -> None:
        self._rows.close()
        self.board.close()


@contextmanager
def followed(run: Path, line: Callable[[Mapping[str, float]], str], told: Callable[[str], None]) -> Iterator[None]:
    """Tell `line(row)` of every row that the first worker writes, while the block runs."""
    file, end = run / FILE, threading.Event()
    known = _whole_rows(file)

    def follow() -> None:
        nonlocal known
        while True:
            ending = end.wait(0.5)
            rows = _whole_rows(file)
            # A worker that goes back to a checkpoint takes the rows after it away.
            same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(known, rows, strict=False)))
            with suppress(OSError):  # who read our output may have gone; the run is in its folder all the same
                for text in rows[same:]:
                    told(line(json.loads(text)))
            known = rows
            if ending:
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def _whole_rows(file: Path) -> list[bytes]:
    return file.read_bytes().rpartition(b"\n")[0].splitlines() if file.exists() else []
