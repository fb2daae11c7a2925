"""What is kept of a step, declared once: windows, chunks, storage, samples and their sizes in bytes follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

AGES = "ages"  # the field that every replay has; see `stored`


@dataclass(frozen=True)
class Field:
    """One thing that is kept of every step, such as its action, and how much of it a sample holds."""

    dtype: str
    shape: tuple[int, ...] = ()
    before: int = 0  # steps before the sampled one that a sample holds too; those of an earlier episode are zeros
    after: int = 0  # steps after it

    @property
    def window(self) -> int:
        """Steps in a sample."""
        return self.before + 1 + self.after

    @property
    def windowed(self) -> bool:
        """Whether a sample holds several steps, [B, window, *shape], instead of one, [B, *shape]."""
        return self.window > 1

    @property
    def step_bytes(self) -> int:
        """Of one step."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return (self.window, *self.shape) if self.windowed else self.shape

    def length(self, horizon: int) -> int:
        """Steps in a chunk of `horizon` steps of one stream, with what its first and last samples need around them."""
        return self.before + horizon + self.after


Fields = Mapping[str, Field]


def stored(fields: Fields) -> dict[str, Field]:
    """An agent's fields and, last, AGES: how many steps before one belong to its episode, at most the largest `before`.

    By it a sample knows which of the steps before it are zeros.
    """
    return {**fields, AGES: Field("uint8")}


def windowed(fields: Fields) -> dict[str, Field]:
    """Those of several steps a sample: the large ones, which are stored by segment and travel by shared memory."""
    return {name: field for name, field in fields.items() if field.windowed}


def chunk_bytes(fields: Fields, horizon: int, stride: int = 1) -> int:
    """Of the fields of one stream's part of a chunk of `horizon` steps, every `stride`-th of which begins a sample."""
    lengths = (field.length(horizon) if field.windowed else horizon // stride for field in fields.values())
    return sum(length * field.step_bytes for length, field in zip(lengths, fields.values(), strict=True))


def sample_bytes(fields: Fields) -> int:
    """Of the fields of one sample."""
    return sum(field.window * field.step_bytes for field in fields.values())
