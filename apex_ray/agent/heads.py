"""Heads that turn features [B, features] into K numbers for each action, [B, A, K]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


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


Hidden = int | Sequence[int]  # width of the hidden layer, or of several


def hidden_layers(width: int, wanted: Sequence[int], normalised: bool) -> list[nn.Module]:
    """Linear layers of the wanted widths with ReLU, each with layer normalisation before it (Ba et al. 2016) where it
    is `normalised`.
    """
    layers = list[nn.Module]()
    for after in wanted:
        layers += [nn.Linear(width, after), *([nn.LayerNorm(after)] if normalised else []), nn.ReLU()]
        width = after
    return layers


def _layers(num_features: int, hidden: Hidden, num_outputs: int, normalised: bool) -> nn.Sequential:
    widths = (hidden,) if isinstance(hidden, int) else tuple(hidden)
    last = FullPrecisionLinear(widths[-1] if widths else num_features, num_outputs)
    return nn.Sequential(*hidden_layers(num_features, widths, normalised), last)


class DuelingHead(nn.Module):
    """Q(s, a) = V(s) + A(s, a) - mean_a A(s, a) (Wang et al. 2016, eq. 9), for each of the K numbers."""

    def __init__(
        self, num_features: int, hidden: Hidden, num_actions: int, outputs: int, normalised: bool = False
    ) -> None:
        super().__init__()
        self._shape = (num_actions, outputs)  # A, K
        self.value = _layers(num_features, hidden, outputs, normalised)
        self.advantage = _layers(num_features, hidden, num_actions * outputs, normalised)

    def forward(self, features: Tensor) -> Tensor:
        advantage = self.advantage(features).unflatten(1, self._shape)
        return self.value(features)[:, None] + advantage - advantage.mean(dim=1, keepdim=True)  # type: ignore[no-any-return]


class PlainHead(nn.Module):
    """One hidden layer (Mnih et al. 2015), or as many as asked for."""

    def __init__(
        self, num_features: int, hidden: Hidden, num_actions: int, outputs: int, normalised: bool = False
    ) -> None:
        super().__init__()
        self._shape = (num_actions, outputs)
        self.layers = _layers(num_features, hidden, num_actions * outputs, normalised)

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features).unflatten(1, self._shape)  # type: ignore[no-any-return]


class BranchingHead(nn.Module):
    """Q_d(s, a) = V(s) + A_d(s, a) - mean_a A_d(s, a) of each branch d (Tavakoli et al. 2018, eq. 1).

    The branches' values lie side by side, [B, sum of A_d, 1].
    """

    def __init__(self, num_features: int, hidden: Hidden, branches: tuple[int, ...], normalised: bool = False) -> None:
        super().__init__()
        self.value = _layers(num_features, hidden, 1, normalised)
        self.advantages = nn.ModuleList([_layers(num_features, hidden, count, normalised) for count in branches])

    def forward(self, features: Tensor) -> Tensor:
        advantages = [branch(features) for branch in self.advantages]
        centred = torch.cat([a - a.mean(dim=1, keepdim=True) for a in advantages], dim=1)
        return (self.value(features) + centred)[..., None]  # type: ignore[no-any-return]
