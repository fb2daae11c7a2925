"""Shared memory that replay shards on the learner's machine write their samples' windowed fields into.

Through Ray's object store they are copied twice: out of replay, then into the store. Here the first copy is the last,
and the samples of several shards lie side by side as one batch.
"""

from __future__ import annotations

import mmap
import os
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apex_ray.fields import Fields, windowed
from apex_ray.types import AnyArray

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


def memfd_create(name: str) -> int:
    """OSError where the system has no such thing: only Linux has."""
    if sys.platform != "linux":
        raise OSError("no anonymous files")
    return os.memfd_create(name)


class BatchMemory:
    """Several batches in memory that other processes can map."""

    def __init__(self, layout: Layout) -> None:
        """Reserve it. OSError where there is no room for it.

        It has no name in any folder, so it goes with the last process that mapped it, killed or not.
        """
        name, self._file = f"apex-ray-{uuid.uuid4().hex}", -1
        self._file = memfd_create(name)
        # Without it a page that does not fit is a bus error at the first write to it.
        os.posix_fallocate(self._file, 0, layout.arrays(None)[1])
        self.arrays, _ = layout.arrays(mmap.mmap(self._file, 0))
        self.place = Place(Path(f"/proc/{os.getpid()}/fd/{self._file}"), name, layout)

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)


@dataclass(frozen=True)
class Place:
    """Where other processes of this machine find it."""

    path: Path
    name: str
    layout: Layout

    def attach(self) -> dict[str, AnyArray] | None:
        """The same memory in this process; None where it is another machine's or another user's."""
        try:
            if self.name not in os.readlink(self.path):
                return None
            file = os.open(self.path, os.O_RDWR)
        except OSError:
            return None
        try:
            return self.layout.arrays(mmap.mmap(file, 0))[0]
        finally:
            os.close(file)
