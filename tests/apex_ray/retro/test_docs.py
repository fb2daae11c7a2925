"""Every command in docs/sonic.md has settings that are valid."""

import re
import shlex
from pathlib import Path

import pytest

from apex_ray.cli import commands
from apex_ray.config.load import load
from apex_ray.envs.make import probe
from apex_ray.evaluation import check_evaluation_env

TEXT = (Path(__file__).parents[3] / "docs" / "sonic.md").read_text()
IN_BLOCKS = [line.split("  #")[0].strip() for line in re.findall(r"^ *(apex-ray .+)$", TEXT, flags=re.MULTILINE)]
LINES = sorted({*IN_BLOCKS, *re.findall(r"`(apex-ray [^`\n]+)`", TEXT)})


def test_there_are_commands_to_check():
    assert len(LINES) >= 12 and sum("env.kwargs.stages" in line for line in LINES) >= 3


@pytest.mark.parametrize("line", LINES)
def test_a_command(line):
    _, command, *words = shlex.split(line)
    assert command in commands([command, *words])
    settings = [word for word in words if "=" in word]
    if command in ("evaluate", "record"):
        preset = "sonic"
    elif command == "train":
        preset = words[0]
    else:
        return
    demo = [] if preset == "airstriker" else ["env.kwargs.demo=true"]
    config = load(preset, [*settings, *demo]).config
    check_evaluation_env(config, probe(config.env))
