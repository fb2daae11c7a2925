"""Runs the scripts of benchmarks/peers in the peers' own environment (see peers/install.sh)."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from benchmarks.machine import ROOT

FOLDER = ROOT / "benchmarks" / "peers"
PYTHON = FOLDER / ".venv" / "bin" / "python"
PYTHON_OF = {"rllib_apex": FOLDER / ".venv-apex" / "bin" / "python"}  # of a Ray of 2023, which none of the others takes


def ask(script: str, *arguments: str) -> dict[str, Any]:
    """The JSON object on the last line that peers/<script>.py prints.

    A contestant that could not run is there with the reason (a string) instead of a figure; when the environment is
    missing that is all there is.
    """
    python = PYTHON_OF.get(script, PYTHON)
    if not python.exists():
        return {"peers": "not installed: sh benchmarks/peers/install.sh"}
    command = [str(python), str(FOLDER / f"{script}.py"), *arguments]
    # The peers run with their own packages only, and as many threads as ours: one, unless the script says otherwise.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        return {script: f"failed: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'no message'}"}
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def figures_and_reasons(answer: dict[str, Any]) -> tuple[dict[str, float], dict[str, str]]:
    """Split what was measured from what could not be."""
    return (
        {k: v for k, v in answer.items() if not isinstance(v, str)},
        {k: v for k, v in answer.items() if isinstance(v, str)},
    )
