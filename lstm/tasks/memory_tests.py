"""The two classic tests of long memory: sequences made up from the seed and the update's number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lstm.config import AddingConfig, CopyConfig
from lstm.shape import Shape
from lstm.tasks.base import Batch

C = TypeVar("C", AddingConfig, CopyConfig)
HELD_OUT = 2**31  # numbers of updates never come here
ADDING_BASELINE = 1 / 6  # mean squared error of always saying 1: the variance of the sum of two uniform numbers


class MadeUp(ABC, Generic[C]):
    """A task whose sequences are made up: there are no data that anything would need to know of."""

    carried = False

    def __init__(self, config: C, size: int, seed: int) -> None:
        self._config: C = config
        self._size, self._seed = size, seed

    @property
    def facts(self) -> dict[str, object]:
        return {}

    def batch(self, step: int) -> Batch:
        return self._sequences(self._size, step)

    def validation(self) -> Iterator[Batch]:
        for first in range(0, self._config.validation_rows, self._size):
            yield self._sequences(min(self._size, self._config.validation_rows - first), HELD_OUT + first)

    @abstractmethod
    def _sequences(self, size: int, number: int) -> Batch:
        """`size` sequences that follow from the seed and a number."""


class Adding(MadeUp[AddingConfig]):
    """Rows of (number, mark): the sum of the two marked numbers, said at a row's end.

    Numbers are uniform in [0, 1); one mark is in the first half of a row and one in the second.
    """

    unit = "squared error"
    shape = Shape(outputs=1, features=2)

    def __init__(self, config: AddingConfig, size: int, seed: int) -> None:
        super().__init__(config, size, seed)
        self._longest = int(config.steps * (1 + config.spread))

    def describe(self) -> list[str]:
        return [f"rows of {self._config.steps} to {self._longest} steps; always saying 1 costs {ADDING_BASELINE:.3f}"]

    def cost(self, outputs: Tensor, batch: Batch) -> Tensor:
        return (outputs[..., 0][batch.counted].float() - batch.targets[batch.counted]) ** 2

    def _sequences(self, size: int, number: int) -> Batch:
        rng = np.random.default_rng((self._seed, number))
        lengths = rng.integers(self._config.steps, self._longest + 1, size)
        longest, rows = int(lengths.max()), np.arange(size)
        values = rng.random((size, longest), np.float32)
        marks = np.zeros((size, longest), np.float32)
        marks[rows, rng.integers(0, lengths // 2)] = 1
        marks[rows, rng.integers(lengths // 2, lengths)] = 1
        last = rows, lengths - 1
        targets, counted = np.zeros((size, longest), np.float32), np.zeros((size, longest), bool)
        targets[last], counted[last] = (values * marks).sum(1), True
        values[np.arange(longest) >= lengths[:, None]] = 0
        inputs = torch.from_numpy(np.stack([values, marks], -1))
        ragged = torch.from_numpy(lengths) if self._config.spread else None
        return Batch(inputs, torch.from_numpy(targets), torch.from_numpy(counted), ragged)


class Copy(MadeUp[CopyConfig]):
    """Symbols 1 to `alphabet`, `steps` blanks, a signal; then the symbols are to be said again."""

    unit = "nats/symbol"

    def __init__(self, config: CopyConfig, size: int, seed: int) -> None:
        super().__init__(config, size, seed)
        self.shape = Shape(outputs=config.alphabet, classes=config.alphabet + 2)

    def describe(self) -> list[str]:
        c = self._config
        return [f"{c.symbols} of {c.alphabet} symbols over {c.steps} steps; guessing costs {np.log(c.alphabet):.3f}"]

    def cost(self, outputs: Tensor, batch: Batch) -> Tensor:
        return functional.cross_entropy(outputs[batch.counted].float(), batch.targets[batch.counted], reduction="none")

    def _sequences(self, size: int, number: int) -> Batch:
        c, rng = self._config, np.random.default_rng((self._seed, number))
        symbols = rng.integers(0, c.alphabet, (size, c.symbols))
        inputs = np.zeros((size, 2 * c.symbols + c.steps), np.int64)
        inputs[:, : c.symbols] = symbols + 1
        inputs[:, c.symbols + c.steps] = c.alphabet + 1  # the signal: the first symbol is to be said at this step
        targets, counted = np.zeros_like(inputs), np.zeros(inputs.shape, bool)
        targets[:, -c.symbols :], counted[:, -c.symbols :] = symbols, True
        return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), torch.from_numpy(counted))
