"""Heads that turn features [B, features] into K numbers for each action, [B, A, K]."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from apex_ray.config.schema import NetworkConfig


class FullPrecision(nn.Module):
    """A mark: inference in bfloat16 leaves the parameters and buffers of this module as they are, in float32."""


class Drawing(nn.Module):
    """A mark: in training this module draws random numbers of torch's, which the learner seeds for every update."""


class FullPrecisionLinear(FullPrecision, nn.Linear):
    """A linear layer in its parameters' own dtype, also under autocast.

    The values of a state's actions differ by less than bfloat16's step (1/256 of the value), so the last layer adds up
    in float32.
    """

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.to(self.weight.dtype))


class NoisyLinear(FullPrecision, Drawing, nn.Linear):
    """A linear layer with learned, factorised Gaussian noise in its weights and biases (Fortunato et al. 2018, section
    3, b), in its parameters' own dtype.

    In training each call draws the noise anew; a policy has the noise that `draw` gave it, none before.
    """

    noise_in: Tensor
    noise_out: Tensor

    def __init__(self, in_features: int, out_features: int, sigma: float = 0.5) -> None:
        super().__init__(in_features, out_features)
        start = sigma / math.sqrt(in_features)
        for mean in (self.weight, self.bias):
            nn.init.uniform_(mean, -1 / math.sqrt(in_features), 1 / math.sqrt(in_features))
        self.weight_sigma = nn.Parameter(torch.full_like(self.weight, start))
        self.bias_sigma = nn.Parameter(torch.full_like(self.bias, start))
        self.register_buffer("noise_in", torch.zeros(in_features), persistent=False)
        self.register_buffer("noise_out", torch.zeros(out_features), persistent=False)

    def draw(self, generator: torch.Generator) -> None:
        """Noise for a policy, from a generator of the CPU's."""
        for noise in (self.noise_in, self.noise_out):
            noise.copy_(_scaled(torch.randn(len(noise), generator=generator)))

    def forward(self, input: Tensor) -> Tensor:
        noise_in, noise_out = self.noise_in, self.noise_out
        if self.training:
            noise_in, noise_out = (_scaled(torch.randn_like(noise)) for noise in (noise_in, noise_out))
        weight = self.weight + self.weight_sigma * noise_out[:, None] * noise_in
        with torch.autocast(input.device.type, enabled=False):
            return functional.linear(input.to(weight.dtype), weight, self.bias + self.bias_sigma * noise_out)


def _scaled(noise: Tensor) -> Tensor:
    """f(x) = sign(x) sqrt(|x|)."""
    return noise.sign() * noise.abs().sqrt()


def hidden_layers(
    width: int, wanted: Sequence[int], normalised: bool, linear: Callable[[int, int], nn.Module] = nn.Linear
) -> list[nn.Module]:
    """Linear layers of the wanted widths with ReLU, each with layer normalisation before it (Ba et al. 2016) where it
    is `normalised`.
    """
    layers = list[nn.Module]()
    for after in wanted:
        layers += [linear(width, after), *([nn.LayerNorm(after)] if normalised else []), nn.ReLU()]
        width = after
    return layers


def _layers(num_features: int, config: NetworkConfig, num_outputs: int) -> nn.Sequential:
    hidden = config.hidden
    widths = (hidden,) if isinstance(hidden, int) else tuple(hidden)
    linear, last = (NoisyLinear, NoisyLinear) if config.noisy else (nn.Linear, FullPrecisionLinear)
    layers = hidden_layers(num_features, widths, config.layer_norm, linear)
    return nn.Sequential(*layers, last(widths[-1] if widths else num_features, num_outputs))


class DuelingHead(nn.Module):
    """Q(s, a) = V(s) + A(s, a) - mean_a A(s, a) (Wang et al. 2016, eq. 9), for each of the K numbers."""

    def __init__(self, num_features: int, config: NetworkConfig, num_actions: int, outputs: int) -> None:
        super().__init__()
        self._shape = (num_actions, outputs)  # A, K
        self.value = _layers(num_features, config, outputs)
        self.advantage = _layers(num_features, config, num_actions * outputs)

    def forward(self, features: Tensor) -> Tensor:
        advantage = self.advantage(features).unflatten(1, self._shape)
        return self.value(features)[:, None] + advantage - advantage.mean(dim=1, keepdim=True)  # type: ignore[no-any-return]


class PlainHead(nn.Module):
    """One hidden layer (Mnih et al. 2015), or as many as asked for."""

    def __init__(self, num_features: int, config: NetworkConfig, num_actions: int, outputs: int) -> None:
        super().__init__()
        self._shape = (num_actions, outputs)
        self.layers = _layers(num_features, config, num_actions * outputs)

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features).unflatten(1, self._shape)  # type: ignore[no-any-return]


class BranchingHead(nn.Module):
    """Q_d(s, a) = V(s) + A_d(s, a) - mean_a A_d(s, a) of each branch d (Tavakoli et al. 2018, eq. 1).

    The branches' values lie side by side, [B, sum of A_d, 1].
    """

    def __init__(self, num_features: int, config: NetworkConfig, branches: tuple[int, ...]) -> None:
        super().__init__()
        self.value = _layers(num_features, config, 1)
        self.advantages = nn.ModuleList([_layers(num_features, config, count) for count in branches])

    def forward(self, features: Tensor) -> Tensor:
        advantages = [branch(features) for branch in self.advantages]
        centred = torch.cat([a - a.mean(dim=1, keepdim=True) for a in advantages], dim=1)
        return (self.value(features) + centred)[..., None]  # type: ignore[no-any-return]
