"""What the parser of command lines says in boxes, in every form that it draws them, is one line."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

COMMANDS = {
    "apex_ray": ("evaluate x --episode 3", "evaluate has no option '--episode'; expected one of --episodes, --ch"),
    "cluster.cli": ("list --adress x", "Did you mean '--address'?"),
    "wavenet.cli": ("generate x --seconds x", "--seconds x: expected a number"),
    "lstm.cli": ("sample", "RUN"),
}


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("program", COMMANDS)
def test_a_wrong_option_is_one_line(program: str, terminal: bool, encoding: str) -> None:
    """On a terminal there are colours, and without UTF-8 other lines."""
    words, says = COMMANDS[program]
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", program, *words.split()],
            stdout=theirs if terminal else subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONIOENCODING": encoding, "TERM": "xterm-256color"},
            text=True,
            timeout=120,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 2
    assert done.stderr.startswith("error: command line: ") and done.stderr.count("\n") == 1 and says in done.stderr
    assert "\x1b" not in done.stderr and "──" not in done.stderr and "---" not in done.stderr
