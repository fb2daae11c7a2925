import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tyro.conf import Positional

from trainkit.command_line import EXIT_MISTAKE, EXIT_NO_READER, next_steps, program, run

DEATH = (
    "A worker died or was killed while executing a task by an unexpected system error. To troubleshoot the problem, "
    "check the logs for the dead worker. Worker PID: 10633 Worker exit type: SYSTEM_ERROR"
)
NODE = (
    "The node with node id: 3f and address: 10.77.0.2 and node name: 10.77.0.2 has been marked dead because the "
    "detector has missed too many heartbeats from it. This can happen when a \\t(1) raylet crashes unexpectedly"
)
MEMORY = "2 Workers (tasks / actors) killed due to memory pressure (OOM)"


@pytest.mark.parametrize("words", [["config", "adding"], ["--version"]])
def test_output_that_nobody_reads_is_no_error(words: list[str]) -> None:
    """As in `apex-lstm config adding | head -1`."""
    command = [sys.executable, "-m", "lstm.cli", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == EXIT_NO_READER


@dataclass(frozen=True)
class Write:
    """Write 100 bytes."""

    file: Positional[Path]

    def __call__(self) -> int:
        self.file.write_bytes(bytes(100))
        return 0


@dataclass(frozen=True)
class Other:
    """A second command, as every program of ours has."""


def test_a_full_disk_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = {"write": Write, "other": Other}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))  # answered as a full disk is
    try:
        code = run("x", commands, "", ["write", str(tmp_path / "f")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == EXIT_MISTAKE
    assert capsys.readouterr().err.endswith("can't be written: File too large\n")
    with pytest.raises(FileNotFoundError):  # any other error is not one of the disk
        run("x", commands, "", ["write", str(tmp_path / "none" / "f")])


def test_ray_is_silent_on_a_lost_process_that_is_told_anyway_and_on_nothing_else() -> None:
    """By its own reader of these lines, in a program of ours."""
    code = (
        "import apex_ray.cli; assert apex_ray.cli.main(['--version']) == 0\n"
        "from ray._private.worker import print_to_stdstream\n"
        f"for line in ({DEATH!r}, {NODE!r}, {MEMORY!r}):\n"
        "    print_to_stdstream({'lines': [line], 'pid': 'raylet', 'is_err': False}, ignore_prefix=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert MEMORY in done.stdout and "A worker died" not in done.stdout
    assert "marked dead" not in done.stdout


def test_a_program_is_called_so_that_the_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    ours = tmp_path / ".venv" / "bin" / "apex-ray"
    ours.write_text("#!/bin/sh")
    ours.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(ours.with_name("python")))
    monkeypatch.setenv("PATH", "/usr/bin")
    assert program("apex-ray") == ".venv/bin/apex-ray"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert program("apex-ray") == str(ours)
    monkeypatch.setenv("PATH", f"{ours.parent}:/usr/bin")
    assert program("apex-ray") == "apex-ray"
    assert program("apex-of-elsewhere") == "apex-of-elsewhere"


def test_next_steps_stand_in_columns() -> None:
    steps = {"evaluate": ["evaluate", "runs/a b"], "go on": ["train", "--resume", "runs/a b"]}
    assert next_steps("prog", steps) == "evaluate  prog evaluate 'runs/a b'\ngo on     prog train --resume 'runs/a b'"
