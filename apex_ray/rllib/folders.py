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

from apex_ray.tuning.saved import FACTS
from trainkit.errors import NotWrittenError, os_errors
from trainkit.files import atomic_write
from trainkit.storage import Store, local_path, uri_of

METADATA, VERSION = "rllib_checkpoint.json", "2.1"  # RLlib's, of its new API stack


@contextmanager
def to_fill(path: str | Path | None, filesystem: pyarrow.fs.FileSystem | None) -> Iterator[tuple[Path, str]]:
    """(A folder of this machine to fill, where it will be): what is elsewhere is sent when the block ends.

    NotWrittenError where it can't be sent: what is there then is not taken for whole.
    """
    if path is None:
        path = tempfile.mkdtemp(prefix="apex-checkpoint-")
    if (store := _elsewhere(path, filesystem)) is None:
        here = local_path(path)
        yield here, str(here)
        return
    with tempfile.TemporaryDirectory() as name, os_errors(f"checkpoint {path} can't be written", kind=NotWrittenError):
        folder = Path(name)
        yield folder, str(path)
        store.delete(FACTS)
        files = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
        for file in sorted(files, key=lambda file: file == FACTS):  # the last one says that it is whole
            store.put(folder / file, file)


@contextmanager
def to_read(path: str | Path, filesystem: pyarrow.fs.FileSystem | None) -> Iterator[Path]:
    """A folder of this machine with what is at `path`. UserError where it can't be read."""
    if (store := _elsewhere(path, filesystem)) is None:
        yield local_path(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        with os_errors(f"checkpoint {path} can't be read"):
            for file in store.files():
                store.get(file, Path(folder) / file)
        yield Path(folder)


def _elsewhere(path: str | Path, filesystem: pyarrow.fs.FileSystem | None) -> Store | None:
    if isinstance(filesystem, pyarrow.fs.LocalFileSystem):
        return None
    if filesystem is not None:
        return Store(str(path), filesystem)
    uri = uri_of(path)
    return None if uri is None else Store(uri)


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
