"""Quantile regression DQN (Dabney et al. 2018, arXiv 1710.10044) on n-step transitions."""

from __future__ import annotations

import torch
from pydantic import PositiveInt
from torch import Tensor

from apex_ray.agent.contract import Loss
from apex_ray.agent.following import Network, following
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
        self._td, self._delta = config.td, config.learner.huber_delta
        self.outputs = checked(QuantileKwargs, config.td.objective_kwargs, "td.objective_kwargs").quantiles

    def quantiles(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """(the quantiles [..., N], their levels [N] or [..., N]), of what the network gives."""
        return outputs, (torch.arange(self.outputs, device=outputs.device) + 0.5) / self.outputs

    def q_values(self, outputs: Tensor) -> Tensor:
        """[B, A, K] -> [B, A]."""
        return self.quantiles(outputs)[0].mean(dim=2)

    def loss(self, online: Network, target: Network, t: Transitions) -> Loss:
        """Quantile Huber loss (equation 10): summed over quantiles, mean over the target's; priorities are |TD errors|
        of the means.
        """
        with torch.no_grad():
            after = following(self._td, self.q_values, online, target, t)
            later = self.quantiles(after.outputs)[0] + after.bonus[:, None]
            goals = td_target(after.returns[:, None], t.discounts[:, None], later, self._td.value_rescaling)  # [B, N]
        rows = torch.arange(len(t.actions), device=t.actions.device)
        taken, levels = self.quantiles(online(t.states)[rows, t.actions].to(t.returns.dtype))  # [B, N]
        losses = quantile_huber(goals[:, None, :] - taken[:, :, None], levels.detach(), self._delta)
        mean_errors = goals.mean(dim=1) - taken.detach().mean(dim=1)
        return Loss(losses, mean_errors.abs(), {"q_mean": taken.detach().mean()})


def quantile_huber(errors: Tensor, levels: Tensor, delta: float | None) -> Tensor:
    """Losses [B] of errors [B, N of the prediction, M of the target], summed over the former and averaged over the
    latter; `levels` [N] or [B, N] are the prediction's.

    Huber's is divided by its threshold as in the paper; |errors|, plain quantile regression, for null.
    """
    sides = (levels[..., None] - (errors.detach() < 0).to(errors.dtype)).abs()
    sizes = errors.abs()
    if delta is not None:
        sizes = torch.where(sizes <= delta, 0.5 * errors**2 / delta, sizes - 0.5 * delta)
    return (sides * sizes).mean(dim=2).sum(dim=1)
