"""Shared memory that replay shards on the learner's machine write their samples' windowed fields into.

Through Ray's object store they are copied twice: out of replay, then into the store. Here the first copy is the last,
and the samples of several shards lie side by side as one batch.
"""

from __future__ import annotations

import mmap
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apex_ray.fields import Fields, windowed
from apex_ray.types import AnyArray

SHARED_MEMORY = Path("/dev/shm")
ALIGNED_BYTES = 4096  # a page: a device reads whole ones


@dataclass(frozen=True)
class Layout:
    """How several batches lie in one file: each windowed field as [slots, B, window, ...], one after the other."""

    fields: Fields
    slots: int
    batch_size: int

    def arrays(self, memory: mmap.mmap | None) -> tuple[dict[str, AnyArray], int]:
        """The fields in `memory`, and the bytes that they take; without `memory` only these."""
        found: dict[str, AnyArray] = {}
        offset = 0
        for name, field in windowed(self.fields).items():
            shape = (self.slots, self.batch_size, *field.sample_shape)
            count = int(np.prod(shape))
            if memory is not None:
                found[name] = np.frombuffer(memory, field.dtype, count, offset).reshape(shape)
            offset += -(-count * np.dtype(field.dtype).itemsize // ALIGNED_BYTES) * ALIGNED_BYTES
        return found, offset


class BatchMemory:
    """Several batches in memory that other processes can map."""

    def __init__(self, layout: Layout) -> None:
        """Reserve it. OSError where shared memory is missing or too small (a container's default is 64 MB)."""
        self.path, self.layout = SHARED_MEMORY / f"apex-ray-{uuid.uuid4().hex}", layout
        file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            # Without it a page that does not fit is a bus error at the first write to it.
            os.posix_fallocate(file, 0, layout.arrays(None)[1])
            self.arrays, _ = layout.arrays(mmap.mmap(file, 0))
        except OSError:
            self.unlink()
            raise
        finally:
            os.close(file)

    def unlink(self) -> None:
        """Take its name away: it stays for those who mapped it and goes with the last of them, killed or not."""
        self.path.unlink(missing_ok=True)


def attach(path: Path, layout: Layout) -> dict[str, AnyArray] | None:
    """The same memory in another process; None where it is another machine's or another user's."""
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        return layout.arrays(mmap.mmap(file, 0))[0]
    finally:
        os.close(file)
