"""Actions of several parts, each chosen by values of its own: branching dueling Q-networks (Tavakoli et al. 2018).

One value of the state, and advantages for each part (branch): outputs grow with the sum of the parts' sizes, not with
their product.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from apex_ray.agent.contract import Loss
from apex_ray.agent.exploration import epsilon_greedy
from apex_ray.agent.q_learning import QLearning, masked
from apex_ray.config.schema import ApexConfig
from apex_ray.td import td_target
from apex_ray.types import MASK, AnyArray, EnvSpec, Float64Array, FloatArray, IntArray
from trainkit.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn


class Branching(QLearning):
    """Double Q-learning with one target for all branches: the mean of their bootstrap values (equation 6)."""

    def __init__(self, spec: EnvSpec, config: ApexConfig) -> None:
        super().__init__(spec, config)
        if config.td.objective != "dqn" or not config.network.dueling or config.td.munchausen is not None:
            raise UserError(
                f"td.objective = {config.td.objective!r}, td.munchausen = {config.td.munchausen}, network.dueling = "
                f"{config.network.dueling}: actions of {len(spec.branches)} branches are learned by dqn with dueling, "
                "without munchausen; or raise env.max_joint_actions"
            )
        ends = np.cumsum((0, *spec.branches)).tolist()
        self._branches = [slice(a, b) for a, b in pairwise(ends)]

    def _head(self, features: int) -> nn.Module:
        from apex_ray.agent.heads import BranchingHead

        return BranchingHead(features, self._config.network, self._spec.branches)

    def _values(self, network: nn.Module, observations: Mapping[str, Tensor], legal: Tensor | None) -> Iterator[Tensor]:
        """Of each branch, [B, A of the branch], -inf for what is not legal."""
        values = network(observations)[..., 0]
        for part in self._branches:
            yield masked(values[:, part], None if legal is None else legal[:, part])

    def infer(
        self, network: nn.Module, observations: Mapping[str, Tensor], state: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        import torch

        legal = observations[MASK][:, -1] if self._spec.masked else None
        return {"q_values": torch.cat(list(self._values(network, observations, legal)), dim=1)}, {}

    def choose(self, outputs: Mapping[str, AnyArray], epsilons: FloatArray, rng: np.random.Generator) -> IntArray:
        """[E, K]: each branch explores for itself."""
        q_values = outputs["q_values"]
        return np.stack([epsilon_greedy(q_values[:, part], epsilons, rng) for part in self._branches], axis=1)

    def priorities(self, window: Mapping[str, AnyArray]) -> Float64Array:
        """Mean |TD error| of the branches."""
        q_values, actions = window["q_values"], window["actions"].astype(np.int64)
        horizon = actions.shape[1]
        later = np.arange(horizon) + window["steps"].astype(np.int64)
        taken = [
            np.take_along_axis(q_values[:, :horizon, part], actions[..., k, None], axis=2)[..., 0]
            for k, part in enumerate(self._branches)
        ]
        best = np.mean([q_values[..., part].max(axis=2) for part in self._branches], axis=0)
        bootstrap = np.take_along_axis(best, later, axis=1).astype(np.float32)
        scale = self._config.td.value_rescaling
        goals: FloatArray = td_target(window["returns"], window["discounts"], bootstrap, scale)
        errors: Float64Array = np.mean([np.abs(goals - value) for value in taken], axis=0).astype(np.float64)
        return errors

    def loss(self, online: nn.Module, target: nn.Module, batch: Mapping[str, Tensor]) -> Loss:
        import torch

        from apex_ray.agent.dqn import huber

        t = self._transitions(batch)
        with torch.no_grad():
            values = list(self._values(target, t.next_states, t.legal))
            choosers = self._values(online, t.next_states, t.legal) if self._config.td.double_q else values
            bootstraps = [_taken(v, chooser.argmax(dim=1)) for v, chooser in zip(values, choosers, strict=True)]
            bootstrap = torch.stack(bootstraps).to(t.returns.dtype).mean(dim=0)
            goals = td_target(t.returns, t.discounts, bootstrap, self._config.td.value_rescaling)
        mine = [_taken(v, t.actions[:, k]) for k, v in enumerate(self._values(online, t.states, None))]
        taken = torch.stack(mine, dim=1).to(t.returns.dtype)  # [B, K]
        errors = goals[:, None] - taken
        losses = huber(errors, self._config.learner.huber_delta).mean(dim=1)
        return Loss(losses, errors.detach().abs().mean(dim=1), {"q_mean": taken.detach().mean()})


def _taken(values: Tensor, actions: Tensor) -> Tensor:
    """[B] of values [B, A] and actions [B]."""
    return values.gather(1, actions[:, None])[:, 0]
