"""Settings of a model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from wavenet.mu_law import CLASSES


class Section(BaseModel):
    """A group of settings: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelConfig(Section):
    """The network. The paper's own sizes are not published; these are the ones in common use."""

    cycles: PositiveInt = Field(3, description="times that the dilations run from 1 to their largest")
    layers_per_cycle: PositiveInt = Field(10, description="dilations 1, 2, 4, ...: 10 end at 512")
    kernel: int = Field(2, ge=2, description="taps of each dilated convolution")
    input_kernel: PositiveInt = Field(2, description="taps of the causal convolution before the first block")
    residual: PositiveInt = Field(64, description="channels between blocks")
    skip: PositiveInt = Field(128, description="channels that blocks add up for the output")
    head: PositiveInt = Field(128, description="channels between the output's two 1x1 convolutions")
    output: Literal["softmax", "logistics"] = Field(
        "softmax", description="softmax over 256 mu-law classes, or a mixture of discretised logistics for 16 bits"
    )
    mixtures: PositiveInt = Field(10, description="logistics in the mixture")
    speakers: int = Field(0, ge=0, description="values of the global condition; 0: none")
    speaker_channels: PositiveInt = Field(16, description="size of a speaker's learned vector")
    local_features: int = Field(0, ge=0, description="features of a frame of the local condition; 0: none")
    local_channels: PositiveInt = Field(64, description="channels of the upsampled local condition")
    upsampling: tuple[PositiveInt, ...] = Field(
        (10, 16), description="strides of the learned upsampling; their product is a frame's length in samples"
    )

    @model_validator(mode="after")
    def _known_strides(self) -> ModelConfig:
        if self.local_features and not self.upsampling:
            raise ValueError("upsampling is empty: a local condition needs a frame's length")
        return self

    @property
    def dilations(self) -> tuple[int, ...]:
        """Of each block."""
        return tuple(2**i for i in range(self.layers_per_cycle)) * self.cycles

    @property
    def receptive_field(self) -> int:
        """How many earlier samples a prediction depends on."""
        return self.input_kernel + (self.kernel - 1) * sum(self.dilations)

    @property
    def frame_samples(self) -> int:
        """Samples that one frame of the local condition stands for."""
        length = 1
        for stride in self.upsampling:
            length *= stride
        return length

    @property
    def outputs(self) -> int:
        """Numbers that the network says about a sample."""
        return CLASSES if self.output == "softmax" else 3 * self.mixtures
