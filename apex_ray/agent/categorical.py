"""Categorical DQN, C51 (Bellemare et al. 2017, arXiv 1707.06887), on n-step transitions."""

from __future__ import annotations

import torch
from pydantic import Field, model_validator
from torch import Tensor

from apex_ray.agent.contract import Loss
from apex_ray.agent.following import Network, following
from apex_ray.agent.q_learning import Transitions
from apex_ray.config.plugins import checked
from apex_ray.config.schema import ApexConfig
from apex_ray.td import td_target
from trainkit.section import Section


class CategoricalKwargs(Section):
    """`td.objective_kwargs`."""

    atoms: int = Field(51, ge=2)  # of the return's distribution, N
    low: float = -10.0  # the first atom's return
    high: float = 10.0  # the last one's

    @model_validator(mode="after")
    def _in_order(self) -> CategoricalKwargs:
        if self.low >= self.high:
            raise ValueError(f"low = {self.low:g} must be below high = {self.high:g}")
        return self


class CategoricalDqn:
    """N numbers an action: the logits of its return's probabilities at N returns, evenly spaced from low to high."""

    def __init__(self, config: ApexConfig) -> None:
        given = checked(CategoricalKwargs, config.td.objective_kwargs, "td.objective_kwargs")
        self._td, self._low, self._high = config.td, given.low, given.high
        self.outputs = given.atoms

    def q_values(self, outputs: Tensor) -> Tensor:
        """[B, A, N] -> [B, A]."""
        return torch.softmax(outputs, dim=-1) @ self._atoms(outputs)

    def _atoms(self, like: Tensor) -> Tensor:
        """The returns [N]."""
        return torch.linspace(self._low, self._high, self.outputs, device=like.device, dtype=like.dtype)

    def loss(self, online: Network, target: Network, t: Transitions) -> Loss:
        """Cross-entropy with the target's distribution, moved by the return and projected onto the atoms (algorithm 1);
        priorities are |TD errors| of the means. With a soft policy the distributions of its actions are mixed.
        """

        def probabilities(network: Network) -> Network:
            return lambda states: torch.softmax(network(states), dim=-1)

        def means(p: Tensor) -> Tensor:
            return p @ self._atoms(p)

        with torch.no_grad():
            after = following(self._td, means, probabilities(online), probabilities(target), t)
            atoms = self._atoms(after.outputs)
            later = atoms + after.bonus[:, None]  # [B, N]
            goals = td_target(after.returns[:, None], t.discounts[:, None], later, self._td.value_rescaling)
            wanted = self._projected(goals, after.outputs)
        logits = online(t.states)[torch.arange(len(t.actions), device=t.actions.device), t.actions].to(atoms.dtype)
        log_p = torch.log_softmax(logits, dim=1)
        mean = means(log_p.detach().exp())
        return Loss(-(wanted * log_p).sum(dim=1), (means(wanted) - mean).abs(), {"q_mean": mean.mean()})

    def _projected(self, goals: Tensor, probabilities: Tensor) -> Tensor:
        """Each goal's probability shared by the two atoms that it lies between, both [B, N] -> [B, N]."""
        atoms = self._atoms(goals)
        apart = (goals.clamp(self._low, self._high)[:, None, :] - atoms[:, None]).abs()  # [B, N of atoms, N of goals]
        shares = (1 - apart * (self.outputs - 1) / (self._high - self._low)).clamp(min=0)
        return (shares * probabilities[:, None, :]).sum(dim=2)
