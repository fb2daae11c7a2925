"""Lines of progress come by time, however fast or slow the updates are."""

import io
import json
import math
import resource
import threading
from pathlib import Path

import pytest

from trainkit import training_log
from trainkit.exported import Metric
from trainkit.training_log import FILE, FILE_S, TERMINAL_S, ByTime, TrainingLog, followed

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


@pytest.mark.parametrize("tail", [b'{"step": 3, "lo', b'{"step": 3, "lo\n', b"\0\0\0\n"])
def test_rows_of_lost_workers_and_half_ones_are_dropped(tmp_path, tail: bytes):
    append(tmp_path, *({"step": step, "loss": 1.0} for step in (1, 2, 3)))
    with (tmp_path / FILE).open("ab") as file:
        file.write(tail)
    log = TrainingLog(tmp_path, 2, METRICS, lambda row: None)
    log.write({"step": 3, "loss": 2.0})
    log.close()
    rows = [json.loads(row) for row in (tmp_path / FILE).read_text().splitlines()]
    assert [(row["step"], row["loss"]) for row in rows] == [(1, 1.0), (2, 1.0), (3, 2.0)]


def test_what_is_not_finite_is_null_in_the_file_and_nan_on_the_console(tmp_path):
    told, _, tell = told_and_seen()
    log = TrainingLog(tmp_path, 0, METRICS, lambda row: None)
    with followed(tmp_path, lambda row: str(math.isnan(row["loss"])), tell, NEVER_S):
        log.write({"step": 1, "loss": math.inf})
    log.close()
    assert json.loads((tmp_path / FILE).read_text()) == {"step": 1, "loss": None} and told == ["True"]


def test_a_full_disk_costs_rows_and_not_the_run(tmp_path):
    log, exported = TrainingLog(tmp_path, 0, METRICS, lambda row: exported.append(row["step"])), list[float]()
    log.write({"step": 1, "loss": 1.0})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / FILE).stat().st_size + 5, before[1]))
    try:
        log.write({"step": 2, "loss": 1.0})
        log.busy("validation")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    log.write({"step": 3, "loss": 1.0})
    log.close()
    assert [json.loads(row)["step"] for row in (tmp_path / FILE).read_text().splitlines()] == [1, 3]
    assert exported == [1, 2, 3]


def test_the_time_between_lines_is_by_where_they_are_told(monkeypatch: pytest.MonkeyPatch):
    """`evaluate > file` tells on a terminal, `evaluate 2> file` in a file."""
    for out, beside in ((True, False), (False, True)):
        monkeypatch.setattr("sys.stdout", Stream(out))
        assert ByTime(print).every_s == (TERMINAL_S if out else FILE_S)
        assert ByTime(print, stream=Stream(beside)).every_s == (TERMINAL_S if beside else FILE_S)


class Stream(io.StringIO):
    def __init__(self, terminal: bool):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal
