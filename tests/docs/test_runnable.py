"""Every code block that is marked runnable runs as it stands.

Of the others, Python is Python, and commands have options and settings that there are.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from apex_ray.config.schema import ApexConfig
from apex_ray.measured import Measured
from docs_site.commands import options, programs
from lstm.config import LstmConfig
from tests.docs.blocks import MARK, PAGES, ROOT, Block, blocks
from trainkit.config_schema import Schema
from wavenet.config import WaveNetConfig

KEY_VALUE = re.compile(r"[a-z_.]+=")
ALL = list(blocks())
RUNNABLE = [block for block in ALL if block.runnable]
MODULES = {
    "apex-ray": "apex_ray",
    "apex-cluster": "cluster.cli",
    "apex-lstm": "lstm.cli",
    "apex-wavenet": "wavenet.cli",
}
SCHEMAS = {
    "apex-ray": Schema(ApexConfig),
    "apex-lstm": Schema(LstmConfig),
    "apex-wavenet": Schema(WaveNetConfig),
}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("block", RUNNABLE, ids=str)
def test_a_runnable_block_runs(block: Block, tmp_path: Path) -> None:
    """In an empty folder, with our commands on the PATH."""
    shims, folder = tmp_path / "bin", tmp_path / "here"
    shims.mkdir()
    folder.mkdir()
    for name, module in MODULES.items():
        (shims / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {module} "$@"\n')
        (shims / name).chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{shims}{os.pathsep}{os.environ['PATH']}"}
    for name in ("RAY_ADDRESS", "APEX_RUNS_DIR"):
        environment.pop(name, None)
    program = [sys.executable, "-c"] if block.language == "python" else ["bash", "-euo", "pipefail", "-c"]
    done = subprocess.run(
        [*program, block.text], cwd=folder, env=environment, capture_output=True, text=True, timeout=230
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_mark_is_of_a_block() -> None:
    marks = sum(page.read_text(encoding="utf-8").count(MARK) for page in PAGES)
    assert len(RUNNABLE) == marks >= 8
    assert {block.language for block in RUNNABLE} == {"python", "bash"}


PYTHON = [block for block in ALL if block.language == "python" and block.page != "docs/reference/api.md"]  # signatures


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_a_python_block_parses(block: Block) -> None:
    ast.parse(re.sub(r"^%.*$", "", block.text, flags=re.MULTILINE))


def commands_of(block: Block) -> Iterator[tuple[str, list[str]]]:
    """(program, words) of each command of ours, also of those that are submitted."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if "kubectl " in line or not any(name in line for name in MODULES):
            continue
        lexer = shlex.shlex(re.sub(r"(^|\s)#.*", "", line), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word in MODULES or word == "--" or not word.strip(";|&<>"):
                if words and words[0] in MODULES:
                    yield words[0], words[1:]
                words = [word] if word in MODULES else []
            elif words:
                words.append(word)


COMMANDS = [
    (f"{block} {program} {shlex.join(words)}", program, words)
    for block in ALL
    if block.language == "bash"
    for program, words in commands_of(block)
]


@pytest.mark.parametrize(("program", "words"), [c[1:] for c in COMMANDS], ids=[c[0] for c in COMMANDS])
def test_a_command_of_the_docs_is_one_that_there_is(program: str, words: list[str]) -> None:
    known = programs()[program]
    name = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]
    assert name in known
    flags = {option.written.split()[0] for option in options(known[name])}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert given <= flags
    schema = SCHEMAS.get(next((word for word in words if word in SCHEMAS), "apex-ray") if name == "plan" else program)
    pairs = [(before, word.partition("=")[0]) for before, word in pairwise(["", *words]) if KEY_VALUE.match(word)]
    keys = [key for before, key in pairs if before != "--given"]
    assert schema is None or [key for key in keys if schema.leaf_above(key) is None] == []
    assert {key for before, key in pairs if before == "--given"} <= set(Measured.model_fields)


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) > 100
