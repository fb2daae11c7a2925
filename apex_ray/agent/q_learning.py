"""The feed-forward Q-learning agent of Ape-X: a Q-network, epsilon-greedy actions, n-step targets by an objective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from apex_ray.agent.contract import Loss, State
from apex_ray.agent.exploration import epsilon_greedy
from apex_ray.agent.registry import HEADS, OBJECTIVES, TORSOS, named
from apex_ray.config.schema import ApexConfig
from apex_ray.fields import Field
from apex_ray.td import td_target
from apex_ray.types import AnyArray, EnvSpec, Float64Array, FloatArray, IntArray

if TYPE_CHECKING:
    from torch import Tensor, nn


class Transitions(NamedTuple):
    """B transitions as an objective takes them."""

    states: Tensor  # [B, S, *F]
    actions: Tensor  # int64 [B]
    returns: Tensor  # float [B], n-step, rewards clipped
    discounts: Tensor  # float [B], gamma^m, 0 where the window ended in a terminal state
    next_states: Tensor  # [B, S, *F], m steps later


class QLearning:
    """An objective says what the network's outputs mean and how they are learned; this class does all the rest.

    Objectives have `outputs`, the numbers that the network gives for each action (K); `q_values([B, A, K]) -> [B, A]`;
    and `loss(online, target, transitions) -> Loss`, where networks are functions of states to [B, A, K].
    """

    def __init__(self, spec: EnvSpec, config: ApexConfig) -> None:
        self._spec, self._config = spec, config
        n, stack = config.td.n_step, spec.stack
        self.fields = {
            # State t is the first S frames of a sample; the bootstrap state begins `steps` later.
            "frames": Field(spec.frame_dtype, spec.frame_shape, before=stack - 1, after=n),
            "actions": Field("int32"),
            "returns": Field("float32"),
            "discounts": Field("float32"),
            "steps": Field("uint8"),
        }
        self.outputs = {"q_values": Field("float32", (spec.num_actions,))}
        self._loaded_objective: Any = None

    @property
    def _objective(self) -> Any:
        """Made when it is first needed: it brings torch."""
        if self._loaded_objective is None:
            kind = named(OBJECTIVES, self._config.td.objective, "td.objective")
            self._loaded_objective = kind(self._config)
        return self._loaded_objective

    def network(self) -> nn.Module:
        """Observations [B, S, *F] -> [B, A, K]."""
        from apex_ray.agent.network import QNetwork

        config, spec = self._config.network, self._spec
        name = config.torso
        if name == "auto":
            name = "mlp" if len(spec.frame_shape) == 1 else "conv"
        torso = named(TORSOS, name, "network.torso")(spec, config)
        head = named(HEADS, "dueling" if config.dueling else "plain", "network.dueling")
        return QNetwork(torso, head(torso.num_features, config.hidden, spec.num_actions, self._objective.outputs))

    def initial_state(self, num_envs: int) -> State:
        return {}

    def infer(
        self, network: nn.Module, observations: Tensor, state: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return {"q_values": self._objective.q_values(network(observations))}, {}

    def choose(self, outputs: Mapping[str, AnyArray], epsilons: FloatArray, rng: np.random.Generator) -> IntArray:
        return epsilon_greedy(outputs["q_values"], epsilons, rng)

    def priorities(self, window: Mapping[str, AnyArray]) -> Float64Array:
        """|TD error| by the actor's own Q-values (Horgan et al. 2018, algorithm 1, line 10).

        They were computed to choose actions; the bootstrap value is their largest, `steps` later.
        """
        q_values, actions, steps = window["q_values"], window["actions"], window["steps"]
        horizon = actions.shape[1]
        taken = np.take_along_axis(q_values[:, :horizon], actions[..., None].astype(np.int64), axis=2)[..., 0]
        later = np.arange(horizon) + steps.astype(np.int64)
        bootstrap = np.take_along_axis(q_values.max(axis=2), later, axis=1)
        errors: FloatArray = td_target(window["returns"], window["discounts"], bootstrap) - taken
        return np.abs(errors).astype(np.float64)

    def loss(self, online: nn.Module, target: nn.Module, batch: Mapping[str, Tensor]) -> Loss:
        states, next_states = split_states(batch["frames"], batch["steps"], self._spec.stack)
        actions, returns, discounts = batch["actions"].long(), batch["returns"], batch["discounts"]
        loss: Loss = self._objective.loss(online, target, Transitions(states, actions, returns, discounts, next_states))
        return loss


def split_states(frames: Tensor, steps: Tensor, stack: int) -> tuple[Tensor, Tensor]:
    """The two observations in each sample's frames.

    Args:
        frames: [B, S + n, *F].
        steps: [B], m: how many frames later the bootstrap state ends.
        stack: S.

    Returns:
        states frames[:, :S] and bootstrap states frames[b, m : m + S], both [B, S, *F].

    """
    import torch

    positions = steps.long()[:, None] + torch.arange(stack, device=frames.device)
    rows = torch.arange(len(frames), device=frames.device)[:, None]
    return frames[:, :stack], frames[rows, positions]
