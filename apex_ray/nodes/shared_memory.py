"""Arrays in memory that other processes of the same machine can map: what they are given there is not copied again.

Ray's object store copies twice what is in arrays that its giver goes on using, and costs a call more than the bytes do.
Batches travel so (nodes/batch_source.py), and what actors ask about (nodes/central_inference.py).
"""

from __future__ import annotations

import mmap
import os
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from apex_ray.types import AnyArray

ALIGNED_BYTES = 4096  # a page: a device reads whole ones
Shapes = Mapping[str, tuple[str, tuple[int, ...]]]  # dtype and shape of each array, by name


def lay_out(shapes: Shapes, memory: mmap.mmap | None) -> tuple[dict[str, AnyArray], int]:
    """The arrays one after the other in `memory`, and the bytes that they take; without `memory` only these."""
    found: dict[str, AnyArray] = {}
    offset = 0
    for name, (dtype, shape) in shapes.items():
        count = int(np.prod(shape))
        if memory is not None:
            found[name] = np.frombuffer(memory, dtype, count, offset).reshape(shape)
        offset += -(-count * np.dtype(dtype).itemsize // ALIGNED_BYTES) * ALIGNED_BYTES
    return found, offset


def memfd_create(name: str) -> int:
    """OSError where the system has no such thing: only Linux has."""
    if sys.platform != "linux":
        raise OSError("no anonymous files")
    return os.memfd_create(name)


class SharedMemory:
    def __init__(self, shapes: Shapes) -> None:
        """Reserve it. OSError where there is no room for it.

        It has no name in any folder, so it goes with the last process that mapped it, killed or not.
        """
        name, self._file = f"apex-ray-{uuid.uuid4().hex}", -1
        self._file = memfd_create(name)
        # Without it a page that does not fit is a bus error at the first write to it.
        os.posix_fallocate(self._file, 0, lay_out(shapes, None)[1])
        self.arrays, _ = lay_out(shapes, mmap.mmap(self._file, 0))
        self.place = Place(Path(f"/proc/{os.getpid()}/fd/{self._file}"), name, dict(shapes))

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)


@dataclass(frozen=True)
class Place:
    """Where other processes of this machine find it. The name alone is that of no other memory."""

    path: Path
    name: str
    shapes: Shapes = field(hash=False)

    def attach(self) -> dict[str, AnyArray] | None:
        """The same memory in this process; None where it is another machine's or another user's."""
        try:
            if self.name not in os.readlink(self.path):
                return None
            file = os.open(self.path, os.O_RDWR)
        except OSError:
            return None
        try:
            return lay_out(self.shapes, mmap.mmap(file, 0))[0]
        finally:
            os.close(file)
