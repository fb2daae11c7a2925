"""Bad inputs: what is done, what its user sees, and with which exit code the command ends.

`ROWS` of the modules here are one table. tests/apex_ray/test_bad_inputs.py holds the product to it, and
benchmarks/bad_inputs.py writes it down with the seconds that each row takes.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from apex_ray.cli import main

ROOT = Path(__file__).parents[3]

# A run of a second: CartPole, or what a row's own words make of it.
SMALL = """
extends: cartpole
mode: serial
actors: {count: 1, envs_per_actor: 2, chunk_transitions: 10}
env: {frame_stack: 1}
network: {mlp_layers: [8], hidden: 8}
replay: {capacity_transitions: 2000, min_transitions: 40, samples_per_insert: 8}
learner: {batch_size: 8, threads: 1, device: cpu}
evaluation: {episodes: 2, envs: 2, video: false, final: false}
stop: {after_updates: 20, after_s: 60, evaluation_return: null}
"""


@dataclass(frozen=True)
class Row:
    """One bad input."""

    name: str
    words: str  # of the command line, in a folder that holds small.yaml
    says: str | tuple[str, ...]  # parts of the one line of error; of what is printed, where the run goes on (code 0)
    code: int = 2
    before: Callable[[], object] = lambda: None  # done in that folder first
    environ: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False  # in a process of its own, which is left to end, or ...
    interrupt_at: str = ""  # ... gets Ctrl-C when it has printed this
    prefix: tuple[str, ...] = ()  # of its command
    within: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext  # around the command

    @property
    def parts(self) -> tuple[str, ...]:
        return (self.says,) if isinstance(self.says, str) else self.says


@dataclass(frozen=True)
class Seen:
    """What came of it."""

    code: int | str | None
    out: str
    err: str
    seconds: float

    @property
    def errors(self) -> list[str]:
        """The lines that are errors."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


def play(row: Row, folder: Path) -> Seen:
    """Do it in the empty `folder`."""
    (folder / "small.yaml").write_text(SMALL)
    with _in(folder), _environment(row.environ):
        row.before()
        began = time.perf_counter()
        code, out, err = (_alone if row.alone else _here)(row)
        return Seen(code, out, err, time.perf_counter() - began)


def _here(row: Row) -> tuple[int | str | None, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), row.within():
        try:
            code: int | str | None = main(shlex.split(row.words))
        except SystemExit as ended:
            code = ended.code
    return code, out.getvalue(), err.getvalue()


def _alone(row: Row) -> tuple[int, str, str]:
    command = [*row.prefix, sys.executable, "-m", "apex_ray", *shlex.split(row.words)]
    with row.within():
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
    lines: list[str] = []
    assert process.stdout is not None
    if row.interrupt_at:
        for line in process.stdout:
            lines.append(line)
            if row.interrupt_at in line:
                os.killpg(process.pid, signal.SIGINT)
                break
    out, err = process.communicate(timeout=170)
    return process.returncode, "".join(lines) + out, err


@contextlib.contextmanager
def _in(folder: Path) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _environment(changed: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    for name in ("RAY_ADDRESS", "APEX_RUNS_DIR"):
        os.environ.pop(name, None)
    os.environ["PYTHONPATH"] = str(ROOT)  # for programs of their own, which run elsewhere
    os.environ.update(changed)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
