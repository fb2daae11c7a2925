"""The double DQN objective (van Hasselt et al. 2016) on n-step transitions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from apex_ray.agent.contract import Loss
from apex_ray.agent.following import Network, following
from apex_ray.agent.q_learning import Transitions
from apex_ray.config.plugins import checked
from apex_ray.config.schema import ApexConfig
from apex_ray.td import td_target
from trainkit.section import Section


def huber(errors: Tensor, delta: float | None) -> Tensor:
    """Huber loss of each error with its threshold; half their squares for None."""
    if delta is None:
        return 0.5 * errors**2
    return functional.huber_loss(errors, torch.zeros_like(errors), reduction="none", delta=delta)


class Dqn:
    """One number an action: its value."""

    outputs = 1

    def __init__(self, config: ApexConfig) -> None:
        checked(Section, config.td.objective_kwargs, "td.objective_kwargs")  # it takes none
        self._td, self._huber_delta = config.td, config.learner.huber_delta

    def q_values(self, outputs: Tensor) -> Tensor:
        """[B, A, 1] -> [B, A]."""
        return outputs[..., 0]

    def loss(self, online: Network, target: Network, t: Transitions) -> Loss:
        """Huber loss of the TD errors with threshold `learner.huber_delta`, or half their squares for null.

        The online network chooses the next action, the target network values it (equation 4); without `td.double_q`
        the target network does both. With `td.munchausen` neither chooses (agent/following.py).
        """
        with torch.no_grad():
            after = following(self._td, self.q_values, online, target, t)
            later = after.outputs[:, 0] + after.bonus
            goals = td_target(after.returns, t.discounts, later, self._td.value_rescaling)
        taken = self.q_values(online(t.states)).gather(1, t.actions[:, None])[:, 0].to(t.returns.dtype)
        errors = goals - taken
        return Loss(huber(errors, self._huber_delta), errors.detach().abs(), {"q_mean": taken.detach().mean()})
