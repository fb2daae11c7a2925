import subprocess
import sys

import pytest

from cluster.command_line import EXIT_NO_READER


@pytest.mark.parametrize("words", [["config", "adding"], ["--version"]])
def test_output_that_nobody_reads_is_no_error(words: list[str]) -> None:
    """As in `apex-lstm config adding | head -1`."""
    command = [sys.executable, "-m", "lstm.cli", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == EXIT_NO_READER
