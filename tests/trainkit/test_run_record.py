"""How a run ended, by its record and its process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainkit.errors import UserError
from trainkit.run_record import FAILED, FINISHED, INTERRUPTED, LOST, RUNNING, UNKNOWN, record_start, recorded, state_of


def change_last_start(run: Path, **values: Any) -> None:
    """None takes a value away."""
    record = json.loads((run / "run.json").read_text())
    last = record["starts"][-1] | values
    record["starts"][-1] = {name: value for name, value in last.items() if value is not None}
    (run / "run.json").write_text(json.dumps(record))


def test_a_run_is_running_until_it_says_how_it_ended(tmp_path: Path) -> None:
    with recorded(tmp_path, "apex-ray") as ended:
        assert state_of(tmp_path) == (RUNNING, f"process {os.getpid()}")
        ended(FINISHED, "stop.after_s = 5")
    assert state_of(tmp_path) == (FINISHED, "stop.after_s = 5")
    with recorded(tmp_path, "apex-ray"):  # it goes on: its last start counts
        assert state_of(tmp_path)[0] == RUNNING
    assert len(json.loads((tmp_path / "run.json").read_text())["starts"]) == 2


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (UserError("the disk is full"), (FAILED, "the disk is full")),
        (ZeroDivisionError("by 0"), (FAILED, "ZeroDivisionError: by 0")),
        (KeyboardInterrupt(), (INTERRUPTED, "Ctrl-C")),
    ],
)
def test_an_error_is_recorded_and_goes_on(tmp_path: Path, error: BaseException, state: tuple[str, str]) -> None:
    with pytest.raises(type(error)), recorded(tmp_path, "apex-ray"):
        raise error
    assert state_of(tmp_path) == state


@pytest.mark.parametrize("reaped", [False, True], ids=["zombie", "reaped"])
def test_a_killed_run_is_lost(tmp_path: Path, reaped: bool) -> None:
    program = (
        "import sys; from pathlib import Path; from trainkit.run_record import recorded\n"
        "with recorded(Path(sys.argv[1]), 'apex-ray'):\n    print('begun', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        assert state_of(tmp_path) == (RUNNING, f"process {process.pid}")
        process.send_signal(signal.SIGKILL)
        if reaped:
            process.wait()
        else:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is still in the table
        assert state_of(tmp_path) == (LOST, f"process {process.pid} is gone and did not say why")


def test_a_number_that_another_process_has_by_now_is_not_the_run(tmp_path: Path) -> None:
    record_start(tmp_path, "apex-ray")
    assert state_of(tmp_path)[0] == RUNNING
    change_last_start(tmp_path, began=1e9)
    assert state_of(tmp_path)[0] == LOST


def test_what_can_not_be_known_is_unknown(tmp_path: Path) -> None:
    assert state_of(tmp_path) == (UNKNOWN, "no record of its start")
    record_start(tmp_path, "apex-ray")
    change_last_start(tmp_path, host="elsewhere")
    assert state_of(tmp_path)[0] == UNKNOWN and "started on elsewhere" in state_of(tmp_path)[1]
    change_last_start(tmp_path, pid=None)
    assert state_of(tmp_path) == (UNKNOWN, "started by a version that did not record ends")
