"""The examples do what they say, run as a user runs them."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.timeout(300)
def test_a_task_and_a_network_of_ones_own_are_learned(tmp_path):
    """Classes of a script's own __main__ reach the processes of the run."""
    words = [f"runs_dir={tmp_path}", "evaluation.every_s=5", "evaluation.video=false"]
    command = [sys.executable, str(EXAMPLES / "own_task.py"), *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) == 1.0
