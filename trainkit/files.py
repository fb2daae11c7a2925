"""Files and folders that are either whole or not there: nobody ever reads a half-written one."""

from __future__ import annotations

import csv
import io
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def atomic_write(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` so that readers see the old content or the new, also after a power cut."""
    path = Path(path)
    partial = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.partial"
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    _sync_folder(path.parent)


def append(path: Path, data: bytes) -> None:
    """Add `data` to the end of a file, all of it or, where that fails, nothing. OSError as of writing."""
    with path.open("ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(size)
            raise


def append_csv(path: Path, header: Iterable[object], lines: Iterable[Iterable[object]]) -> None:
    """Add `lines` to a CSV file, after `header` where there is none yet; all of it or nothing, as `append`."""
    new = not path.exists() or not path.stat().st_size
    text = io.StringIO()
    csv.writer(text).writerows([header, *lines] if new else lines)
    append(path, text.getvalue().encode())


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yields an empty folder beside `path`, which becomes `path` when the block ends and is removed when it raises.

    An existing `path` is replaced: it stays whole until the new one is, and comes back when the exchange fails. A
    process killed between the two renames leaves it as `.<name>.replaced`, which the next call for `path` brings back.
    One writer per path at a time.
    """
    path = Path(path)
    partial, replaced = (path.parent / f".{path.name}.{kind}" for kind in ("partial", "replaced"))
    path.parent.mkdir(parents=True, exist_ok=True)
    _clean_up(path, partial, replaced)
    partial.mkdir()
    try:
        yield partial
        _sync_tree(partial)
        if path.exists():
            path.rename(replaced)
        try:
            partial.rename(path)
        except BaseException:
            if replaced.exists():
                replaced.rename(path)
            raise
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _sync_folder(path.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _clean_up(path: Path, partial: Path, replaced: Path) -> None:
    """Mend what a killed process left: at any moment one of `path` and `replaced` is whole."""
    if partial.exists():
        shutil.rmtree(partial)
    if replaced.exists():
        if path.exists():
            shutil.rmtree(replaced)
        else:
            replaced.rename(path)


def _sync_tree(folder: Path) -> None:
    """Have the content on disk before the rename that makes it visible."""
    for root, _, files in os.walk(folder):
        for name in files:
            with (Path(root) / name).open("rb") as file:
                os.fsync(file.fileno())
        _sync_folder(Path(root))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
