"""Lines of progress come by time, however fast or slow the updates are."""

import json
import threading
from pathlib import Path

import pytest

from trainkit import training_log
from trainkit.exported import Metric
from trainkit.training_log import FILE, TrainingLog, followed

METRICS = {name: Metric("learning", "-", name) for name in ("step", "loss", "cost")}
NEVER_S = 1e9


def line(row):
    return f"{row['step']} {'cost' if 'cost' in row else 'loss'}"


def append(run: Path, *rows):
    with (run / FILE).open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def told_and_seen():
    """A list of what was told, and an event that is set by each telling."""
    told, seen = [], threading.Event()

    def tell(text):
        told.append(text)
        seen.set()

    return told, seen, tell


def test_a_thousand_rows_between_two_lines(tmp_path):
    """The first at once, then by time; at the end the last of each kind."""
    told, seen, tell = told_and_seen()
    with followed(tmp_path, line, tell, NEVER_S):
        append(tmp_path, {"step": 1, "loss": 1.0})
        assert seen.wait(30)
        for step in range(2, 500):
            append(tmp_path, {"step": step, "loss": 1.0}, {"step": step, "cost": 1.0})
        append(tmp_path, {"step": 500, "loss": 1.0})
    assert told == ["1 loss", "499 cost", "500 loss"]


def test_where_no_row_comes_what_is_done_is_told(tmp_path):
    log = TrainingLog(tmp_path, 0, METRICS, lambda row: None)
    told, seen, tell = told_and_seen()

    def wait_for(start):
        while not any(text.startswith(start) for text in told):
            assert seen.wait(30), f"never told {start}: {told}"
            seen.clear()

    with followed(tmp_path, line, tell, 0.01):
        wait_for("starting the workers, ")
        log.write({"step": 1, "loss": 1.0})
        wait_for("1 loss")
        wait_for("waiting for the next update, ")
        log.busy("validation after step 1")
        wait_for("validation after step 1, ")
    log.close()
    assert not (tmp_path / "busy.txt").exists()


def test_rows_of_slow_updates_are_due_by_time(tmp_path, monkeypatch: pytest.MonkeyPatch):
    log = TrainingLog(tmp_path, 0, METRICS, lambda row: None)
    monkeypatch.setattr(training_log, "ROW_S", NEVER_S)
    assert [step for step in range(1, 11) if log.due(step, 5)] == [5, 10]
    monkeypatch.setattr(training_log, "ROW_S", 0.0)
    assert log.due(1, 5)
    log.close()
