"""Rows of what a run measures: a line of metrics.jsonl each, and TensorBoard's scalars.

TensorBoard has a run's settings too, as a page and as hyperparameters to compare runs by.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from errno import ENOSPC
from pathlib import Path
from shutil import disk_usage
from typing import Any

import yaml

from trainkit.exported import Metric
from trainkit.files import append
from trainkit.run_layout import CONFIG_FILE

FILE = "metrics.jsonl"
FOLDER = "tensorboard"  # in the run folder: under --logdir RUNS_DIR a run is then called by its own name
UNLISTED = "own"  # TensorBoard's group of what no list of metrics has
BOARD_ROOM_BYTES = 2**20  # on the disk, for TensorBoard's files to be written at all


class Rows:
    """Appends to both; one writer a run. A full disk is an OSError, costs that row, and leaves no half line."""

    def __init__(
        self,
        run: Path,
        metrics: Mapping[str, Metric],
        step: str,
        compared: Sequence[str],
        purged_from: Callable[[int], int | None],
    ) -> None:
        """Rows of `metrics`, of which TensorBoard counts by `step`; it compares runs by the tags `compared`.

        `purged_from`, of the first step that is written: from where on TensorBoard hides what an earlier process wrote.
        """
        self._run, self._metrics, self._step, self._compared = run, metrics, step, compared
        self._purged_from, self._board = purged_from, None
        (run / FILE).touch()

    def write(self, row: Mapping[str, float]) -> None:
        """Append a row of known metrics, the step among them; what is not finite becomes null."""
        values = {name: _plain(value) for name, value in row.items()}
        append(self._run / FILE, (json.dumps(values, allow_nan=False) + "\n").encode())
        groups = {name: self._metrics[name].group if name in self._metrics else UNLISTED for name in values}
        self.scalars({f"{groups[name]}/{name}": value for name, value in values.items()}, int(row[self._step]))

    def scalars(self, values: Mapping[str, float | int | None], step: int) -> None:
        """Show these in TensorBoard, by tag; None is left out."""
        if disk_usage(self._run).free < BOARD_ROOM_BYTES:
            # The board's own thread writes, and would print a traceback: it gets nothing without room for it.
            raise OSError(ENOSPC, "no room on the disk for TensorBoard's files")
        shown = {tag: value for tag, value in values.items() if value is not None}
        try:
            self._show(shown, step)
        except OSError:  # the board's own thread ended when there was no room: a new one goes on in a file of its own
            self.close()
            self._show(shown, step)

    def _show(self, values: Mapping[str, float], step: int) -> None:
        board = self.board(step)
        for tag, value in values.items():
            board.add_scalar(tag, value, step)

    def board(self, step: int) -> Any:
        """The SummaryWriter, which begins at its first use, `step`."""
        if self._board is None:
            self._board = open_board(self._run, self._purged_from(step), self._compared)
        return self._board

    def close(self) -> None:
        if self._board is not None:
            with suppress(OSError):  # what is lost of the board is in the file beside it
                self._board.close()
            self._board = None


def is_row(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def repair(path: Path, whole: Callable[[bytes], bool]) -> None:
    """Cut `path` after its last line that ends with a newline and is `whole`: a killed process may leave a half one."""
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    while end:
        start = content.rfind(b"\n", 0, end - 1) + 1
        if whole(content[start:end]):
            break
        end = start
    if end < len(content):
        os.truncate(path, end)


def _plain(value: float) -> float | int | None:
    """A number for JSON: NumPy's types become Python's, nan and infinities None."""
    if hasattr(value, "__index__"):
        return int(value)
    return float(value) if math.isfinite(value) else None


def open_board(run: Path, purge_step: int | None, compared: Sequence[str]) -> Any:
    """A SummaryWriter that goes on at `purge_step`; runs can be compared by the scalars `compared`."""
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    board: Any = SummaryWriter(str(run / FOLDER), purge_step=purge_step, flush_secs=30)
    config = run / CONFIG_FILE
    text = config.read_text(encoding="utf-8") if config.exists() else ""
    if settings := dict(flat(yaml.safe_load(text))):
        board.add_text("settings", "".join(f"    {line}\n" for line in text.splitlines()), purge_step or 0)
        for summary in hparams(settings, dict.fromkeys(compared, 0.0)):  # type: ignore[no-untyped-call]
            board.file_writer.add_summary(summary, purge_step or 0)
    board.flush()
    return board


def flat(section: Any, prefix: str = "") -> Iterator[tuple[str, str | float | bool]]:
    """Dotted names and values; what is no number or truth value is a text."""
    if not isinstance(section, Mapping):
        return
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, bool | int | float) else str(value)
