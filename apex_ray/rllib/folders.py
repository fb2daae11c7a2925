"""Checkpoint folders as RLlib names them: a path, a URI, or a path on a filesystem of Arrow's."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.fs
import ray

from trainkit.runs import atomic_write

METADATA, VERSION = "rllib_checkpoint.json", "2.1"  # RLlib's, of its new API stack


@contextmanager
def to_fill(path: str | Path | None, filesystem: pyarrow.fs.FileSystem | None) -> Iterator[tuple[Path, str]]:
    """(A folder of this machine to fill, where it will be): what is elsewhere is sent when the block ends."""
    if path is None:
        path = tempfile.mkdtemp(prefix="apex-checkpoint-")
    if (there := _elsewhere(path, filesystem)) is None:
        yield Path(path), str(path)
        return
    remote, name = there
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder), str(path)
        remote.create_dir(name, recursive=True)
        pyarrow.fs.copy_files(folder, name, destination_filesystem=remote)


@contextmanager
def to_read(path: str | Path, filesystem: pyarrow.fs.FileSystem | None) -> Iterator[Path]:
    """A folder of this machine with what is at `path`."""
    if (there := _elsewhere(path, filesystem)) is None:
        yield Path(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        pyarrow.fs.copy_files(there[1], folder, source_filesystem=there[0])
        yield Path(folder)


def _elsewhere(path: str | Path, filesystem: pyarrow.fs.FileSystem | None) -> tuple[pyarrow.fs.FileSystem, str] | None:
    if filesystem is None and "://" in str(path):
        filesystem, path = pyarrow.fs.FileSystem.from_uri(str(path))
    if filesystem is None or isinstance(filesystem, pyarrow.fs.LocalFileSystem):
        return None
    return filesystem, str(path)


def write_metadata(folder: Path, made_by: object) -> None:
    """The file that RLlib tells a checkpoint by."""
    kind = type(made_by)
    known = {
        "type": "Algorithm",
        "checkpoint_version": VERSION,
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "ray_version": ray.__version__,
    }
    atomic_write(folder / METADATA, (json.dumps(known, indent=1) + "\n").encode())


@contextmanager
def timed() -> Iterator[Callable[[], float]]:
    """Yields what tells the seconds since it was entered, or that it took when it has ended."""
    began, ended = time.monotonic(), [0.0]
    try:
        yield lambda: (ended[0] or time.monotonic()) - began
    finally:
        ended[0] = time.monotonic()
