"""Long short-term memory between torso and heads, as in R2D2 (Kapturowski et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveInt

from apex_ray.config.plugins import checked
from trainkit.section import Section

if TYPE_CHECKING:
    from torch import nn


class LstmKwargs(Section):
    """`network.memory_kwargs`."""

    units: PositiveInt = Field(128, description="of each layer (R2D2: 512)")
    layers: PositiveInt = 1
    embedding: int = Field(0, ge=0, description="width that the torso's features are brought to first; 0: they are not")
    forget_bias: float = Field(1.0, description="the forget gate's bias at the beginning")


class LstmMemory:
    """Its state is stored with every sequence, and burn-in goes on from it (R2D2, section 3)."""

    stored = True

    def __init__(self, kwargs: Mapping[str, Any]) -> None:
        self._kwargs = given = checked(LstmKwargs, kwargs, "network.memory_kwargs")
        self.embedding = given.embedding
        self.state = {name: (given.layers, given.units) for name in ("hidden", "memory")}

    def module(self, inputs: int) -> nn.Module:
        from apex_ray.agent.lstm_layers import LstmLayers

        given = self._kwargs
        return LstmLayers(inputs, given.units, given.layers, given.forget_bias)
