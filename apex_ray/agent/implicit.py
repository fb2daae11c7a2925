"""Implicit quantile networks, IQN (Dabney et al. 2018b, arXiv 1806.06923), on n-step transitions."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from apex_ray.agent.heads import Drawing
from apex_ray.agent.quantile import QuantileDqn
from apex_ray.config.plugins import checked
from apex_ray.config.schema import ApexConfig
from trainkit.section import Section


class ImplicitKwargs(Section):
    """`td.objective_kwargs`."""

    quantiles: PositiveInt = 8  # drawn of the return's distribution each time, N (the paper: 64 to learn, 32 to act)
    cosines: PositiveInt = 64  # that a level is embedded by


class ImplicitHead(Drawing):
    """Gives N quantiles of each action and, beside them, their levels: [B, A, 2 N].

    Levels are drawn anew for every sample in training; a policy's are the middles of N equal parts.
    """

    waves: Tensor  # the cosines' frequencies

    def __init__(self, head: nn.Module, features: int, given: ImplicitKwargs) -> None:
        """`head` gives one number an action."""
        super().__init__()
        self.head, self._count = head, given.quantiles
        self.embedding = nn.Linear(given.cosines, features)
        self.register_buffer("waves", math.pi * torch.arange(1.0, given.cosines + 1), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        size = len(features)
        if self.training:
            levels = torch.rand(size, self._count, device=features.device)
        else:
            middles = (torch.arange(self._count, device=features.device) + 0.5) / self._count
            levels = middles.expand(size, self._count)
        embedded = torch.relu(self.embedding(torch.cos(levels[..., None] * self.waves).to(features.dtype)))
        quantiles = self.head((features[:, None] * embedded).flatten(0, 1))  # [B N, A, 1]
        by_action = quantiles.view(size, self._count, -1).transpose(1, 2)
        return torch.cat([by_action, levels[:, None].expand(by_action.shape).to(by_action.dtype)], dim=2)


class ImplicitQuantiles(QuantileDqn):
    """2 N numbers an action: N quantiles of its return, whose mean is its value, and their levels (equation 3)."""

    def __init__(self, config: ApexConfig) -> None:
        self._td, self._delta = config.td, config.learner.huber_delta
        self._given = checked(ImplicitKwargs, config.td.objective_kwargs, "td.objective_kwargs")
        self.outputs = 2 * self._given.quantiles

    def head(self, made: Callable[[int], nn.Module], features: int) -> nn.Module:
        return ImplicitHead(made(1), features, self._given)

    def quantiles(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        count = self._given.quantiles
        return outputs[..., :count], outputs[..., count:]
