"""Quantile regression DQN (Dabney et al. 2018, arXiv 1710.10044) on n-step transitions."""

from __future__ import annotations

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from apex_ray.agent.contract import Loss
from apex_ray.agent.q_learning import Transitions
from apex_ray.config.plugins import checked
from apex_ray.config.schema import ApexConfig
from apex_ray.td import td_target
from trainkit.section import Section


class QuantileKwargs(Section):
    """`td.objective_kwargs`."""

    quantiles: PositiveInt = 200  # of the return's distribution, N (the paper: 200)


class QuantileDqn:
    """N numbers an action: the return's quantiles at (i + 1/2) / N, whose mean is its value."""

    def __init__(self, config: ApexConfig) -> None:
        self._double_q, self._delta = config.td.double_q, config.learner.huber_delta
        self._rescaling = config.td.value_rescaling
        self.outputs = checked(QuantileKwargs, config.td.objective_kwargs, "td.objective_kwargs").quantiles

    def q_values(self, outputs: Tensor) -> Tensor:
        """[B, A, N] -> [B, A]."""
        return outputs.mean(dim=2)

    def loss(self, online: nn.Module, target: nn.Module, t: Transitions) -> Loss:
        """Quantile Huber loss (equation 10): summed over quantiles, mean over the target's; priorities are |TD errors|
        of the means.

        The online network's values choose the next action where `td.double_q` is set, the target network's else.
        """
        rows = torch.arange(len(t.actions), device=t.actions.device)
        with torch.no_grad():
            later = target(t.next_states)
            chooser = online(t.next_states) if self._double_q else later
            chosen = later[rows, t.greedy(self.q_values(chooser))].to(t.returns.dtype)
            goals = td_target(t.returns[:, None], t.discounts[:, None], chosen, self._rescaling)  # [B, N]
        taken = online(t.states)[rows, t.actions].to(t.returns.dtype)  # [B, N]
        errors = goals[:, None, :] - taken[:, :, None]  # [B, N of the prediction, N of the target]
        levels = (torch.arange(self.outputs, device=errors.device, dtype=errors.dtype) + 0.5) / self.outputs
        sides = (levels[:, None] - (errors.detach() < 0).to(errors.dtype)).abs()
        losses = (sides * self._huber(errors)).mean(dim=2).sum(dim=1)
        mean_errors = goals.mean(dim=1) - taken.detach().mean(dim=1)
        return Loss(losses, mean_errors.abs(), {"q_mean": taken.detach().mean()})

    def _huber(self, errors: Tensor) -> Tensor:
        """Divided by its threshold as in the paper; |errors|, plain quantile regression, for null."""
        sizes = errors.abs()
        if self._delta is None:
            return sizes
        return torch.where(sizes <= self._delta, 0.5 * errors**2 / self._delta, sizes - 0.5 * self._delta)
