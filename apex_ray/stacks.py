"""The stacks of a process that hangs, in the run folder: what each of its threads was doing.

A process writes them by itself when it gets a signal, in C, so also while it hangs in native code that keeps Python's
lock. They go to memory of its own that others on its machine can read: nothing is left of it when it ends.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import psutil

FOLDER = "stalls"  # in a run folder
MEMORY = "apex-ray-stacks"
SIGNAL = signal.SIGUSR1
WRITTEN_S, LOOK_S = 3.0, 0.1
_memory: BinaryIO | None = None  # of this process


def write_on_request() -> None:
    """From now on this process writes its stacks on SIGNAL. It can do so on Linux alone."""
    global _memory
    if _memory is None and sys.platform == "linux":
        _memory = os.fdopen(os.memfd_create(MEMORY), "wb", buffering=0)
        faulthandler.register(SIGNAL, _memory, all_threads=True)


def stacks_of(pid: int) -> str:
    """The stacks of process `pid` of this machine, now, or why they can't be had."""
    try:
        memory = _memory_of(pid)
        if memory is None:
            return "it writes no stacks\n"
        before = written = memory.stat().st_size
        os.kill(pid, SIGNAL)
        until = time.monotonic() + WRITTEN_S
        while time.monotonic() < until:
            time.sleep(LOOK_S)
            size = memory.stat().st_size
            if size == written > before:  # and no more comes
                with memory.open("rb") as file:
                    file.seek(before)
                    return file.read().decode(errors="replace")
            written = size
        return f"it wrote no stacks within {WRITTEN_S:g} s: it is {psutil.Process(pid).status()}\n"
    except (OSError, psutil.Error) as error:
        return f"its stacks can't be had: {error}\n"


def _memory_of(pid: int) -> Path | None:
    """Where process `pid` writes; None where SIGNAL would end it."""
    for file in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if MEMORY in os.readlink(file):
                return file
        except FileNotFoundError:
            continue  # closed meanwhile
    return None


def write(run: Path, stacks: Mapping[str, str]) -> str:
    """Write the stacks of these processes, by name, into the run folder: the words that say where they are."""
    text = "".join(f"{name}\n{of_it}\n" for name, of_it in stacks.items())
    return _written(run, "-".join(stacks) if len(stacks) == 1 else "all", lambda path: path.write_text(text))


def write_own(run: Path, name: str) -> str:
    """The same of this process, called `name` in the file's name."""

    def dump(path: Path) -> None:
        with path.open("w") as file:
            faulthandler.dump_traceback(file, all_threads=True)

    return _written(run, name, dump)


def _written(run: Path, name: str, write: Callable[[Path], object]) -> str:
    path = run / FOLDER / f"{time.strftime('%Y%m%d-%H%M%S')}-{name.replace(' ', '-')}.txt"
    try:
        path.parent.mkdir(exist_ok=True)
        write(path)
    except OSError as error:
        return f"stacks can't be written into {path}: {error.strerror or error}"
    return f"stacks in {path}"
