"""How many segments a replay has, and what a full one occupies: for who plans it, without what it is made of."""

from __future__ import annotations

import numpy as np

from apex_ray.fields import Fields, chunk_bytes, stored


def segments_of(capacity: int, horizon: int) -> int:
    """Segments of T = `horizon` steps in a replay of that capacity."""
    return max(capacity // horizon, 1)


def bytes_needed(fields: Fields, capacity: int, horizon: int, stride: int = 1) -> int:
    """What a full replay of this capacity occupies."""
    segments = segments_of(capacity, horizon)
    tree = 2 * 8 * (1 << max(segments * horizon // stride - 1, 1).bit_length())
    counts = 2 * np.dtype(np.int64).itemsize  # overwrites and samples
    return segments * (chunk_bytes(stored(fields), horizon, stride) + counts) + tree
