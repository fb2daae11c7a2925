"""Long rows of codes, read as a ring by many streams at once: what text and sound have in common."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from lstm.shape import Shape
from lstm.tasks.base import Batch

Codes = npt.NDArray[np.integer]


class NextCode:
    """Each stream says at every step which code comes next; its state is carried from batch to batch.

    Stream b of a batch starts b parts of the way into the training codes; when it comes to the end it goes on at the
    beginning. So every stream is one unbroken sequence, and batch `step` follows from its number alone.
    """

    carried = True

    def __init__(self, train: Codes, validation: Codes, classes: int, size: int, chunk: int, unit: str) -> None:
        self.train, self.held_out, self.unit = train, validation, f"nats/{unit}"
        self.shape = Shape(outputs=classes, classes=classes)
        self._size, self._chunk = size, chunk
        self._starts = np.arange(size) * (len(train) // size)

    def batch(self, step: int) -> Batch:
        places = self._starts[:, None] + step * self._chunk + np.arange(self._chunk + 1)
        return _predicted(self.train[places % len(self.train)])

    def validation(self) -> Iterator[Batch]:
        """The held-out codes in as many streams as a batch has; each code but the streams' first is predicted once."""
        size = max(min(self._size, len(self.held_out) // (2 * self._chunk)), 1)
        rows = self.held_out[: len(self.held_out) // size * size].reshape(size, -1)
        for first in range(0, rows.shape[1] - 1, self._chunk):
            yield _predicted(rows[:, first : first + self._chunk + 1])

    def simpler(self) -> dict[str, float]:
        """Nats a code of simpler models on the held-out codes: first, each said as often as it comes in training."""
        counts = np.bincount(self.train, minlength=self.shape.classes) + 1.0
        return {"frequencies": float(-np.log(counts / counts.sum())[self.held_out].mean())}

    def cost(self, outputs: Tensor, batch: Batch) -> Tensor:
        return functional.cross_entropy(outputs.float().flatten(0, 1), batch.targets.flatten(), reduction="none")


def _predicted(codes: Codes) -> Batch:
    both = torch.from_numpy(codes.astype(np.int64))
    inputs, targets = both[:, :-1], both[:, 1:]
    return Batch(inputs, targets, torch.ones_like(targets, dtype=torch.bool))
