"""What training asks of a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch
from torch import Tensor

from lstm.cell import State
from lstm.shape import Shape


@dataclass(frozen=True)
class Batch:
    """B sequences of T steps. `counted` says at which steps what is said is learned from."""

    inputs: Tensor  # [B, T] int64 classes, or [B, T, features] float32
    targets: Tensor  # [B, T] or [B, T, numbers], in the dtype that the task's cost takes
    counted: Tensor  # [B, T] bool
    lengths: Tensor | None = None  # [B] int64, of ragged sequences
    base: Tensor | None = None  # [B, T], what the task adds to outputs
    durations: Tensor | None = None  # [B, K] int64, of the K inputs of speech, which last for the T steps together

    def given(self, state: State | None) -> tuple[Tensor | State | None, ...]:
        """What the network is called with."""
        return self.inputs, state if self.durations is None else self.durations, self.lengths

    def rows(self, some: slice) -> Batch:
        """Part of the sequences."""
        return Batch(*(None if p is None else p[some] for p in self._parts()))  # type: ignore[arg-type]

    def to(self, device: torch.device) -> Batch:
        return Batch(*(None if p is None else p.to(device) for p in self._parts()))  # type: ignore[arg-type]

    def _parts(self) -> list[Tensor | None]:
        return [getattr(self, field.name) for field in fields(self)]


class Cost(Protocol):
    """What one update asks of a task."""

    def cost(self, outputs: Any, batch: Batch) -> Tensor:
        """What the network's outputs cost, float32: the sum of all over the number of counted steps is their mean."""


class Task(Cost, Protocol):
    """Data as batches, and what an error costs."""

    unit: str  # of the cost
    shape: Shape
    carried: bool  # whether a batch goes on where the one before ended, so that the state is carried

    @property
    def facts(self) -> Mapping[str, object]:
        """What using the network needs to know of the data: plain values, for JSON."""

    def describe(self) -> list[str]:
        """What was read, in lines for the console."""

    def batch(self, step: int) -> Batch:
        """The batch of an update, from its number alone: any number of workers sees the same ones."""

    def validation(self) -> Iterator[Batch]:
        """Held-out batches; each a part of the same sequences, one after the other, where the state is carried."""
