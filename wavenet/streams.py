"""What all ways to generate have in common: how samples are drawn, and streams of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from trainkit.errors import UserError
from trainkit.mu_law import SILENCE
from wavenet.config import ModelConfig

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Drawing:
    """Of classes, the `top_k` likeliest at 1 / temperature; of a mixture, one logistic whose scale is multiplied."""

    temperature: float
    top_k: int


def drawing(config: ModelConfig, temperature: float, top_k: int | None) -> Drawing:
    """Temperature 0 takes the likeliest class, or the mean of the likeliest logistic. UserError for what can't be."""
    if not (0 <= temperature < math.inf) or (top_k is not None and top_k < 1):
        raise UserError(f"temperature {temperature:g}, top_k {top_k}: expected at least 0, and at least 1")
    if config.output == "logistics":
        if top_k is not None:
            raise UserError(f"top_k {top_k}: the model draws no classes but numbers; expected none")
        return Drawing(temperature, 1 if temperature == 0 else config.mixtures)
    if temperature == 0:
        return Drawing(1.0, 1)
    return Drawing(temperature, min(top_k or config.outputs, config.outputs))


class Streams(ABC):
    """Streams of one network's sound; each call continues where the last one ended."""

    def __init__(self, config: ModelConfig, count: int, seed: int, drawing: Drawing, speakers: Tensor | None) -> None:
        """`speakers` [count] (int64) where the model has them, or UserError."""
        if bool(config.speakers) != (speakers is not None) or (speakers is not None and len(speakers) != count):
            expected = "one a stream" if config.speakers else "none"
            raise UserError(f"the model has {config.speakers} speakers; expected {expected}")
        self.config, self.streams, self._drawing = config, count, drawing
        self._silence = float(SILENCE if config.output == "softmax" else 0)
        self._rng = np.random.default_rng(seed)

    def run(self, samples: int, local: Tensor | None = None, given: Floats | None = None) -> Floats:
        """The next samples of all streams, [samples, streams], as codes or numbers.

        `local` [streams, samples, local_channels] are upsampled frames. The first samples are `given` [M, streams].
        """
        return self._checked(samples, local, given, 0)[0]

    def hear_silence(self, local: Tensor | None = None) -> None:
        """Hear silence for a receptive field, as it did in training before a recording began.

        `local` [streams, receptive_field, local_channels]: the condition of that time, where the model has one.
        """
        samples = self.config.receptive_field
        self.run(samples, local, np.full((samples, self.streams), self._silence, np.float32))

    def listen(self, given: Floats, local: Tensor | None = None) -> Floats:
        """What is expected at each of the given samples [N, streams] before it hears it: [N, streams, outputs]."""
        return self._checked(len(given), local, given, len(given))[1]

    def _checked(
        self, samples: int, local: Tensor | None, given: Floats | None, expected: int
    ) -> tuple[Floats, Floats]:
        """UserError when a local condition is missing, or given to a model without."""
        if bool(self.config.local_features) != (local is not None):
            needed = "them" if self.config.local_features else "none"
            raise UserError(f"the model has {self.config.local_features} local features; expected {needed}")
        return self._continue(samples, local, given, expected)

    @abstractmethod
    def _continue(
        self, samples: int, local: Tensor | None, given: Floats | None, expected: int
    ) -> tuple[Floats, Floats]:
        """(samples, what is expected at the first `expected` of them, or at all)."""
