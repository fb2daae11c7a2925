"""Where a field of several steps a sample lies: fixed segments of one stream's consecutive steps, each stored once.

A segment holds T steps of one stream and those that their samples need around them, so slot -> steps is arithmetic and
a sample is one contiguous copy. See docs/decisions/0001.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from apex_ray.fields import Field
from apex_ray.replay.intrinsics import memcpy, prefetch
from apex_ray.types import AnyArray, ByteArray, IntArray

PAGE_BYTES = 4096


@njit(nogil=True, cache=True)
def _address(steps, slot, slots, stride):  # type: ignore[no-untyped-def]
    """Where the window of a slot begins, of `slots` in a segment, `stride` steps apart."""
    first = (slot // slots) * steps.shape[1] + slot % slots * stride
    return steps.ctypes.data + first * steps.shape[2]


@njit(nogil=True, cache=True)
def _gather(steps, slots, ages, in_segment, stride, before, window, out):  # type: ignore[no-untyped-def]
    """out[b] = the window of slot b; steps from before the episode's first become zeros.

    steps [segments, before + T + after, bytes], out [B, window, bytes], both uint8 and contiguous.
    """
    size = window * steps.shape[2]
    for b in range(len(slots)):
        if b + 1 < len(slots):
            # A line of each of the next window's pages: where they are is looked up while this window is copied.
            following = _address(steps, slots[b + 1], in_segment, stride)
            for page in range(0, size, PAGE_BYTES):
                prefetch(following + page)  # type: ignore[call-arg]
        memcpy(out.ctypes.data + b * size, _address(steps, slots[b], in_segment, stride), size)  # type: ignore[call-arg]
        for k in range(before - ages[b]):
            out[b, k] = 0


class WindowStore:
    """A field's steps in `segments` segments. Pages are touched as they fill, so an unfilled store is cheap."""

    def __init__(self, field: Field, segments: int, horizon: int, stride: int = 1) -> None:
        """Of T = `horizon` steps, every `stride`-th of which begins a sample."""
        self._field, self._in_segment, self._stride = field, horizon // stride, stride
        self._steps = np.empty((segments, field.length(horizon), field.step_bytes), np.uint8)

    def write(self, segment: int, steps: AnyArray) -> None:
        """Those of a stream, [before + T + after, ...]."""
        self._steps[segment] = np.ascontiguousarray(steps).view(np.uint8).reshape(self._steps.shape[1:])

    def read(self, segments: IntArray) -> AnyArray:
        """All of segments [G]: [G, before + T + after, ...]."""
        return self.by_segment[segments]

    def gather(self, slots: IntArray, ages: ByteArray, out: AnyArray | None = None) -> AnyArray:
        """Windows [B, window, ...] of slots [B], before which ages [B] steps belong to their episodes.

        `out`: a contiguous array to write them into, instead of a new one.
        """
        field = self._field
        if out is None:
            out = np.empty((len(slots), *field.sample_shape), field.dtype)
        raw = out.view(np.uint8).reshape(len(slots), field.window, field.step_bytes)
        _gather(self._steps, slots, ages, self._in_segment, self._stride, field.before, field.window, raw)
        return out

    @property
    def by_segment(self) -> AnyArray:
        """The live steps, [segments, before + T + after, ...]."""
        return self._steps.view(self._field.dtype).reshape(*self._steps.shape[:2], *self._field.shape)
