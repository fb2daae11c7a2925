"""How samples are to be drawn: the settings of a generator, checked once for all ways to generate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from trainkit.errors import UserError
from wavenet.config import ModelConfig


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


def check_speakers(config: ModelConfig, speakers: Tensor | None, streams: int) -> None:
    """UserError when there is not one speaker a stream, or some where the model has none."""
    if bool(config.speakers) != (speakers is not None) or (speakers is not None and len(speakers) != streams):
        expected = "one a stream" if config.speakers else "none"
        raise UserError(f"the model has {config.speakers} speakers; expected {expected}")


def check_local(config: ModelConfig, local: Tensor | None) -> None:
    """UserError when a local condition is missing, or given to a model without."""
    if bool(config.local_features) != (local is not None):
        expected = "them" if config.local_features else "none"
        raise UserError(f"the model has {config.local_features} local features; expected {expected}")
