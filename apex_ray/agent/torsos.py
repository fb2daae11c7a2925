"""From an observation [B, S, *F] to features [B, features]: convolutions for images, a perceptron for vectors."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from apex_ray.config.schema import NetworkConfig
from apex_ray.types import EnvSpec
from trainkit.errors import UserError


class PixelConv2d(nn.Conv2d):
    """A convolution of bytes 0 to 255 as if they were 0 to 1: the scale goes to the weights, which are fewer."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, H, W] uint8 -> [B, filters, h, w] in the parameters' dtype, or autocast's."""
        device = input.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else self.weight.dtype
        # Bytes are brought into channels_last before they become wider, which takes a fifth of the time of doing both.
        pixels = input.contiguous(memory_format=torch.channels_last).to(dtype)
        return self._conv_forward(pixels, self.weight * (1.0 / 255.0), self.bias)  # type: ignore[no-any-return]


class ConvTorso(nn.Module):
    """Nature DQN's convolutions (Mnih et al. 2015) with the sizes of the configuration, valid padding."""

    def __init__(self, spec: EnvSpec, config: NetworkConfig) -> None:
        super().__init__()
        if len(spec.frame_shape) == 1:
            raise UserError(f"network.torso is conv, but {spec.env_id} has vectors of {spec.frame_shape[0]} numbers")
        in_channels, height, width = image_shape(spec)
        layers: list[nn.Module] = []
        sizes = zip(config.conv_channels, config.conv_kernels, config.conv_strides, strict=True)
        for channels, kernel, stride in sizes:
            kind = nn.Conv2d if layers else PixelConv2d
            layers += [kind(in_channels, channels, kernel, stride), nn.ReLU()]
            in_channels = channels
            height, width = ((x - kernel) // stride + 1 for x in (height, width))
            if min(height, width) < 1:
                raise UserError(
                    f"network: frames of {spec.frame_shape[-2:]} are too small for kernels {config.conv_kernels}"
                )
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.num_features = in_channels * height * width

    def forward(self, observations: Tensor) -> Tensor:
        return self.layers(as_image(observations))  # type: ignore[no-any-return]


def image_shape(spec: EnvSpec) -> tuple[int, int, int]:
    """(channels, height, width) of what `as_image` gives: stack and colours become channels."""
    *colours, height, width = spec.frame_shape
    return spec.stack * (colours[0] if colours else 1), height, width


def as_image(observations: Tensor) -> Tensor:
    """[B, S, (C,) H, W] -> [B, S * C, H, W]."""
    batch, *_, height, width = observations.shape
    return observations.reshape(batch, -1, height, width)


class MlpTorso(nn.Module):
    """Fully connected layers over all numbers of an observation."""

    def __init__(self, spec: EnvSpec, config: NetworkConfig) -> None:
        super().__init__()
        width, layers = spec.stack * math.prod(spec.frame_shape), list[nn.Module]()
        for wanted in config.mlp_layers:
            layers += [nn.Linear(width, wanted), nn.ReLU()]
            width = wanted
        self.layers = nn.Sequential(*layers)
        self.num_features = width

    def forward(self, observations: Tensor) -> Tensor:
        inputs = observations.flatten(1).to(next(self.parameters()).dtype)
        return self.layers(inputs)  # type: ignore[no-any-return]
