import subprocess
import sys

from cluster.command_line import EXIT_NO_READER


def test_output_that_nobody_reads_is_no_error() -> None:
    """As in `apex-lstm config adding | head -1`."""
    command = [sys.executable, "-m", "lstm.cli", "config", "adding"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == EXIT_NO_READER
