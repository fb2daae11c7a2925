"""WaveNet's dilated causal convolutions as a memory between torso and heads: all steps of a sequence at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveInt

from apex_ray.config.plugins import checked
from trainkit.section import Section

if TYPE_CHECKING:
    from torch import nn


class WaveNetKwargs(Section):
    """`network.memory_kwargs`."""

    cycles: PositiveInt = Field(1, description="times that the dilations run from 1 to their largest")
    layers_per_cycle: PositiveInt = Field(6, description="dilations 1, 2, 4, ...: 6 end at 32, and see 64 steps")
    kernel: int = Field(2, ge=2, description="taps of each convolution")
    residual: PositiveInt = Field(64, description="channels between blocks")
    skip: PositiveInt = Field(128, description="channels that the blocks add up to what is put out")
    embedding: int = Field(0, ge=0, description="width that the torso's features are brought to first; 0: they are not")


class WaveNetMemory:
    """What it sees is known exactly: its state need not be stored, a burn-in of its reach brings it back."""

    stored = False

    def __init__(self, kwargs: Mapping[str, Any]) -> None:
        self._kwargs = given = checked(WaveNetKwargs, kwargs, "network.memory_kwargs")
        self.embedding = given.embedding
        per_cycle = (given.kernel - 1) * (2**given.layers_per_cycle - 1)
        self.reach_steps = given.cycles * per_cycle  # steps before the last that it sees
        self.state = {"past": (self.reach_steps, given.residual)}

    def module(self, inputs: int) -> nn.Module:
        from apex_ray.agent.wavenet_layers import WaveNetLayers

        given = self._kwargs
        return WaveNetLayers(inputs, given.cycles, given.layers_per_cycle, given.kernel, given.residual, given.skip)
