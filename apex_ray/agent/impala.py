"""IMPALA's residual torso for images (Espeholt et al. 2018, figure 3, right), with adaptive max-pooling at its end."""

from __future__ import annotations

from functools import partial

from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from apex_ray.agent.torsos import PixelConv2d, as_image, image_shape
from apex_ray.config.plugins import checked
from apex_ray.config.schema import NetworkConfig
from apex_ray.types import EnvSpec
from trainkit.section import Section

CHANNELS = (16, 32, 32)  # of the three sections


class ImpalaKwargs(Section):
    """`network.torso_kwargs`."""

    width: PositiveInt = 1  # times the channels of the paper
    pool: PositiveInt = 6  # side of the features' map: pooled to it, whatever the frames' size (Cobbe et al. 2020: 8)
    spectral_norm: bool = False  # of the blocks' convolutions (Miyato et al. 2018; BTR: Clark et al. 2024)


class ResidualBlock(nn.Module):
    def __init__(self, channels: int, spectral: bool) -> None:
        super().__init__()
        both = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.first, self.second = (spectral_norm(one) for one in both) if spectral else both

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, C, h, w] -> the same."""
        return inputs + self.second(functional.relu(self.first(functional.relu(inputs))))  # type: ignore[no-any-return]


class ImpalaTorso(nn.Module):
    """Three sections, each a convolution, a max-pooling that halves the sides, and two residual blocks."""

    def __init__(self, spec: EnvSpec, config: NetworkConfig) -> None:
        super().__init__()
        given = checked(ImpalaKwargs, config.torso_kwargs, "network.torso_kwargs")
        in_channels, _, _ = image_shape(spec, "impala")
        layers: list[nn.Module] = []
        for channels in (given.width * c for c in CHANNELS):
            convolution = nn.Conv2d if layers else partial(PixelConv2d, spec.leaf.scale)
            pooling = nn.MaxPool2d(3, stride=2, padding=1)
            layers += [convolution(in_channels, channels, 3, padding=1), pooling]
            layers += [ResidualBlock(channels, given.spectral_norm) for _ in range(2)]
            in_channels = channels
        self.layers = nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveMaxPool2d(given.pool), nn.Flatten())
        self.num_features = in_channels * given.pool**2

    def forward(self, observations: Tensor) -> Tensor:
        """[B, S, (C,) H, W] -> [B, features]."""
        return self.layers(as_image(observations))  # type: ignore[no-any-return]
