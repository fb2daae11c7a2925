"""Shared memory that replay shards on the learner's machine write their samples' frames into.

Through Ray's object store frames are copied twice: out of replay, then into the store. Here the first copy is the last,
and the samples of several shards lie side by side as one batch.
"""

from __future__ import annotations

import mmap
import os
import uuid
from pathlib import Path

import numpy as np

from apex_ray.types import AnyArray

SHARED_MEMORY = Path("/dev/shm")


class BatchMemory:
    """Frames of several batches, [slots, B, S + n, *F], in memory that other processes can map."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        """Reserve it. OSError where shared memory is missing or too small (a container's default is 64 MB)."""
        self.path = SHARED_MEMORY / f"apex-ray-{uuid.uuid4().hex}"
        self.shape, self.dtype = shape, np.dtype(dtype)
        size = int(np.prod(shape)) * self.dtype.itemsize
        file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            # Without it a page that does not fit is a bus error at the first write to it.
            os.posix_fallocate(file, 0, size)
            self.frames = _map(file, shape, self.dtype)
        except OSError:
            self.unlink()
            raise
        finally:
            os.close(file)

    def unlink(self) -> None:
        """Take its name away: it stays for those who mapped it and goes with the last of them, killed or not."""
        self.path.unlink(missing_ok=True)


def attach(path: Path, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> AnyArray | None:
    """The same memory in another process; None where it is another machine's or another user's."""
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        return _map(file, shape, dtype)
    finally:
        os.close(file)


def _map(file: int, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> AnyArray:
    return np.frombuffer(mmap.mmap(file, 0), dtype).reshape(shape)
