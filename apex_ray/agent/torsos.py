"""From an observation [B, S, *F] to features [B, features]: convolutions for images, a perceptron for vectors."""

from __future__ import annotations

import math
from functools import partial

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from apex_ray.agent.heads import FullPrecision, hidden_layers
from apex_ray.config.plugins import checked
from apex_ray.config.schema import NetworkConfig
from apex_ray.types import EnvSpec, Leaf
from trainkit.errors import UserError
from trainkit.section import Section


class PixelConv2d(nn.Conv2d):
    """A convolution of pixels times `scale`, such as bytes as if they were 0 to 1: the scale goes to the weights, which
    are fewer.
    """

    def __init__(self, scale: float, in_channels: int, channels: int, kernel: int, stride: int = 1, padding: int = 0):
        super().__init__(in_channels, channels, kernel, stride, padding)
        self._scale = scale

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, H, W] uint8, bool or float -> [B, filters, h, w] in the parameters' dtype, or autocast's."""
        device = input.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else self.weight.dtype
        # Bytes are brought into channels_last before they become wider, which takes a fifth of the time of doing both.
        pixels = input.contiguous(memory_format=torch.channels_last).to(dtype)
        return self._conv_forward(pixels, self.weight * self._scale, self.bias)  # type: ignore[no-any-return]


class ConvTorso(nn.Module):
    """Nature DQN's convolutions (Mnih et al. 2015) with the sizes of the configuration, valid padding."""

    def __init__(self, spec: EnvSpec, config: NetworkConfig) -> None:
        super().__init__()
        checked(Section, config.torso_kwargs, "network.torso_kwargs")  # it takes none
        in_channels, height, width = image_shape(spec, "conv")
        layers: list[nn.Module] = []
        sizes = zip(config.conv_channels, config.conv_kernels, config.conv_strides, strict=True)
        for channels, kernel, stride in sizes:
            convolution = nn.Conv2d if layers else partial(PixelConv2d, spec.leaf.scale)
            layers += [convolution(in_channels, channels, kernel, stride), *norm(channels, config), nn.ReLU()]
            in_channels = channels
            height, width = ((x - kernel) // stride + 1 for x in (height, width))
            if min(height, width) < 1:
                raise UserError(
                    f"network: frames of {spec.leaf.shape[-2:]} are too small for kernels {config.conv_kernels}; "
                    "network.torso=small_conv takes small ones"
                )
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.num_features = in_channels * height * width

    def forward(self, observations: Tensor) -> Tensor:
        return self.layers(as_image(observations))  # type: ignore[no-any-return]


def norm(channels: int, config: NetworkConfig) -> list[nn.Module]:
    """Layer normalisation of an image's features, a scale and shift for each channel, where the settings ask for it."""
    return [nn.GroupNorm(1, channels)] if config.layer_norm else []


class SmallConvKwargs(Section):
    """`network.torso_kwargs` of small_conv."""

    channels: PositiveInt = 16  # filters


class SmallConvTorso(nn.Module):
    """One padded convolution of 3 x 3 for images of few pixels (MinAtar: Young and Tian 2019, theirs unpadded)."""

    def __init__(self, spec: EnvSpec, config: NetworkConfig) -> None:
        super().__init__()
        in_channels, height, width = image_shape(spec, "small_conv")
        channels = checked(SmallConvKwargs, config.torso_kwargs, "network.torso_kwargs").channels
        convolution = PixelConv2d(spec.leaf.scale, in_channels, channels, 3, padding=1)
        self.layers = nn.Sequential(convolution, *norm(channels, config), nn.ReLU(), nn.Flatten())
        self.num_features = channels * height * width

    def forward(self, observations: Tensor) -> Tensor:
        return self.layers(as_image(observations))  # type: ignore[no-any-return]


def conv_fits(spec: EnvSpec, config: NetworkConfig) -> bool:
    """Whether frames are large enough for the convolutions of the configuration."""
    for side in spec.leaf.shape[-2:]:
        for kernel, stride in zip(config.conv_kernels, config.conv_strides, strict=True):
            side = (side - kernel) // stride + 1
            if side < 1:
                return False
    return True


def image_shape(spec: EnvSpec, torso: str) -> tuple[int, int, int]:
    """(channels, height, width) of what `as_image` gives: stack and colours become channels. UserError for no image."""
    if spec.leaf.kind != "image":
        raise UserError(
            f"network.torso is {torso}, but {spec.env_id} has vectors of {math.prod(spec.leaf.shape)} numbers"
        )
    *colours, height, width = spec.leaf.shape
    return spec.leaf.stack * (colours[0] if colours else 1), height, width


def as_image(observations: Tensor) -> Tensor:
    """[B, S, (C,) H, W] -> [B, S * C, H, W]."""
    batch, *_, height, width = observations.shape
    return observations.reshape(batch, -1, height, width)


class RunningNorm(FullPrecision):
    """Numbers less their running mean, divided by their running deviation, of all batches that were learned from.

    Chan et al. 1983 (updating by batches); the result is kept within 10 deviations.
    """

    mean: Tensor
    square: Tensor  # mean of squared differences
    count: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("square", torch.ones(width))
        self.register_buffer("count", torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, width] -> [B, width] float32. In training mode, with gradients, the batch is counted."""
        values = inputs.float()
        if self.training and torch.is_grad_enabled():
            self._count(values.detach())
        return ((values - self.mean) / (self.square + 1e-8).sqrt()).clamp(-10, 10)

    @torch.no_grad()
    def _count(self, values: Tensor) -> None:
        size, mean = len(values), values.mean(dim=0)
        total = self.count + size
        share, apart = size / total, mean - self.mean
        spread = values.var(dim=0, correction=0) - self.square + apart**2 * (1 - share)
        self.square += spread * share
        self.mean += apart * share
        self.count += size


class MlpTorso(nn.Module):
    """Fully connected layers over all numbers of an observation, choices as one-hot."""

    def __init__(self, spec: EnvSpec, config: NetworkConfig) -> None:
        super().__init__()
        checked(Section, config.torso_kwargs, "network.torso_kwargs")  # it takes none
        self._leaf = spec.leaf
        width = one_hot_width(spec.leaf)
        self.norm = RunningNorm(width) if config.normalise else None
        self.layers = nn.Sequential(*hidden_layers(width, config.mlp_layers, config.layer_norm))
        self.num_features = config.mlp_layers[-1]

    def forward(self, observations: Tensor) -> Tensor:
        inputs = as_numbers(observations, self._leaf)
        if self.norm is not None:
            inputs = self.norm(inputs)
        return self.layers(inputs.to(next(self.parameters()).dtype))  # type: ignore[no-any-return]


def one_hot_width(leaf: Leaf) -> int:
    """Numbers in what `as_numbers` gives."""
    return leaf.stack * (sum(leaf.sizes) if leaf.kind == "choice" else math.prod(leaf.shape))


def as_numbers(observations: Tensor, leaf: Leaf) -> Tensor:
    """[B, S, *F] -> [B, S * numbers of a frame], scaled; choices as one-hot."""
    if leaf.kind == "choice":
        hot = [functional.one_hot(observations[..., i].long(), size) for i, size in enumerate(leaf.sizes)]
        return torch.cat(hot, dim=-1).flatten(1)
    numbers = observations.flatten(1)
    return numbers if leaf.scale == 1 else numbers * leaf.scale
