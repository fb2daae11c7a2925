"""Where frames lie: fixed segments of one stream's consecutive frames, each frame stored once.

A segment holds T transitions of one stream and the T + S - 1 + n frames they need, so slot -> frame is arithmetic and
a sample is one contiguous copy of S + n frames. See docs/decisions/0001.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from apex_ray.replay.intrinsics import memcpy, prefetch
from apex_ray.types import AnyArray, ByteArray, IntArray

PAGE_BYTES = 4096


@njit(nogil=True, cache=True)
def _address(frames, slot, horizon):  # type: ignore[no-untyped-def]
    """Where the window of a slot begins."""
    first = (slot // horizon) * frames.shape[1] + slot % horizon
    return frames.ctypes.data + first * frames.shape[2]


@njit(nogil=True, cache=True)
def _gather(frames, slots, ages, horizon, stack, window, out):  # type: ignore[no-untyped-def]
    """out[b] = the window of frames of slot b; frames from before the episode's first become zeros.

    frames [segments, T + S - 1 + n, bytes], out [B, S + n, bytes], both uint8 and contiguous.
    """
    size = window * frames.shape[2]
    for b in range(len(slots)):
        if b + 1 < len(slots):
            # A line of each of the next window's pages: where they are is looked up while this window is copied.
            after = _address(frames, slots[b + 1], horizon)
            for page in range(0, size, PAGE_BYTES):
                prefetch(after + page)  # type: ignore[call-arg]
        memcpy(out.ctypes.data + b * size, _address(frames, slots[b], horizon), size)  # type: ignore[call-arg]
        for k in range(stack - 1 - ages[b]):
            out[b, k] = 0


class FrameStore:
    """Preallocated frames of `segments` segments. Pages are touched as they fill, so an unfilled store is cheap."""

    def __init__(
        self, segments: int, horizon: int, stack: int, n_step: int, frame_shape: tuple[int, ...], dtype: str
    ) -> None:
        self._horizon, self._stack, self._window = horizon, stack, stack + n_step
        self._shape, self._dtype = frame_shape, np.dtype(dtype)
        frame_bytes = int(np.prod(frame_shape)) * self._dtype.itemsize
        self._frames = np.empty((segments, horizon + stack - 1 + n_step, frame_bytes), np.uint8)

    @staticmethod
    def bytes_per_segment(horizon: int, stack: int, n_step: int, frame_bytes: int) -> int:
        return (horizon + stack - 1 + n_step) * frame_bytes

    @property
    def nbytes(self) -> int:
        return self._frames.nbytes

    def write(self, segment: int, frames: AnyArray) -> None:
        """A stream's frames [T + S - 1 + n, *F]."""
        self._frames[segment] = np.ascontiguousarray(frames).view(np.uint8).reshape(self._frames.shape[1:])

    def read(self, segments: IntArray) -> AnyArray:
        """All frames of segments [G]: [G, T + S - 1 + n, *F]."""
        return self._frames[segments].view(self._dtype).reshape(len(segments), self._frames.shape[1], *self._shape)

    def gather(self, slots: IntArray, ages: ByteArray, out: AnyArray | None = None) -> AnyArray:
        """Frames [B, S + n, *F] of slots [B], whose stacks reach back ages [B] real frames.

        `out`: a contiguous array to write them into, instead of a new one.
        """
        if out is None:
            out = np.empty((len(slots), self._window, *self._shape), self._dtype)
        raw = out.view(np.uint8).reshape(len(slots), self._window, self._frames.shape[2])
        _gather(self._frames, slots, ages, self._horizon, self._stack, self._window, raw)
        return out

    @property
    def all(self) -> ByteArray:
        """The live bytes [segments, T + S - 1 + n, bytes per frame], for saving."""
        return self._frames
