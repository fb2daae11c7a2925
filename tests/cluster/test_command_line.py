import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
from tyro.conf import Positional, subcommand

from cluster.command_line import EXIT_MISTAKE, EXIT_NO_READER, run


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
    commands = Annotated[Write, subcommand("write")] | Annotated[Other, subcommand("other")]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))  # answered as a full disk is
    try:
        code = run("x", commands, ("write", "other"), "", ["write", str(tmp_path / "f")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == EXIT_MISTAKE
    assert capsys.readouterr().err.endswith("can't be written: File too large\n")
    with pytest.raises(FileNotFoundError):  # any other error is not one of the disk
        run("x", commands, ("write", "other"), "", ["write", str(tmp_path / "none" / "f")])
