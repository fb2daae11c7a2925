"""Shells complete the commands of every program."""

import subprocess
import sys
from pathlib import Path

import pytest

COMPLETED = r"""
source <("$1" --tyro-print-completion bash)
function=$(complete -p "$2" | sed 's/.*-F \([^ ]*\).*/\1/')
COMP_WORDS=("$2" "$3") COMP_CWORD=1 COMP_LINE="$2 $3" COMP_POINT=${#COMP_LINE}
"$function" "$2" "$3" "$2"
echo "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("program", "begun", "whole"),
    [
        ("apex-ray", "ev", "evaluate"),
        ("apex-cluster", "pl", "plan"),
        ("apex-lstm", "fore", "forecast"),
        ("apex-wavenet", "gen", "generate"),
    ],
)
def test_bash_completes_a_command(program: str, begun: str, whole: str) -> None:
    installed = Path(sys.executable).with_name(program)
    words = ["bash", "-c", COMPLETED, "bash", str(installed), program, begun]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [whole], done.stderr
