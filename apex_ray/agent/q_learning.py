"""The feed-forward Q-learning agent of Ape-X: a Q-network, epsilon-greedy actions, n-step targets by an objective."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from apex_ray.agent.contract import Loss, State, reset_states
from apex_ray.agent.exploration import epsilon_greedy
from apex_ray.agent.registry import HEADS, OBJECTIVE, made, named
from apex_ray.config.schema import ApexConfig
from apex_ray.fields import Field
from apex_ray.td import td_target
from apex_ray.types import MASK, AnyArray, BoolArray, EnvSpec, Float64Array, FloatArray, IntArray

if TYPE_CHECKING:
    from torch import Tensor, nn


class Transitions(NamedTuple):
    """B transitions as an objective takes them."""

    states: dict[str, Tensor]  # by leaf, [B, S, *F]
    actions: Tensor  # int64 [B], or [B, K] of K branches
    returns: Tensor  # float [B], n-step, rewards clipped
    discounts: Tensor  # float [B], gamma^m, 0 where the window ended in a terminal state
    next_states: dict[str, Tensor]  # m steps later
    legal: Tensor | None = None  # bool [B, A], which actions are there in the bootstrap states; None: all
    legal_now: Tensor | None = None  # and in the states

    def greedy(self, q_values: Tensor) -> Tensor:
        """int64 [B], the best of the actions that are legal in the bootstrap states, by q_values [B, A]."""
        return self.possible(q_values).argmax(dim=1)

    def possible(self, q_values: Tensor) -> Tensor:
        """Values [B, A] of the bootstrap states, -inf for actions that are not legal."""
        return masked(q_values, self.legal)

    def possible_now(self, q_values: Tensor) -> Tensor:
        """The same of the states."""
        return masked(q_values, self.legal_now)


class QLearning:
    """An objective says what the network's outputs mean and how they are learned; this class does all the rest.

    Objectives have `outputs`, the numbers that the network gives for each action (K); `q_values([B, A, K]) -> [B, A]`;
    and `loss(online, target, transitions) -> Loss`, where networks are functions of states to [B, A, K]. One that has
    `head(made, features)` makes the network's head of `made(numbers)`, the one that the settings name.
    """

    stride = learned = 1

    def __init__(self, spec: EnvSpec, config: ApexConfig) -> None:
        self._spec, self._config = spec, config
        n = config.td.n_step
        self.fields = {
            # State t is the first S frames of a sample; the bootstrap state begins `steps` later.
            **{
                name: Field(leaf.dtype, leaf.shape, before=leaf.stack - 1, after=n)
                for name, leaf in spec.observation.items()
            },
            "actions": Field("int32", spec.action_shape),
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
            self._loaded_objective = made(OBJECTIVE, self._config.td.objective, self._config)
        return self._loaded_objective

    def network(self) -> nn.Module:
        """Observations, leaves [B, S, *F] -> [B, A, K]."""
        from apex_ray.agent.q_network import QNetwork, build_torso

        torso = build_torso(self._spec, self._config.network)
        return QNetwork(self._spec, torso, self._head(torso.num_features))

    def _head(self, features: Any) -> nn.Module:
        config = self._config.network
        kind = named(HEADS, "dueling" if config.dueling else "plain", "network.dueling")
        made = partial(kind, features, config, self._spec.num_actions)
        own = getattr(self._objective, "head", None)
        head: nn.Module = own(made, features) if own else made(self._objective.outputs)
        return head

    def initial_state(self, num_envs: int) -> State:
        return {}

    def next_state(self, state: State, actions: IntArray, rewards: FloatArray, first: BoolArray) -> State:
        return reset_states(state, first, self.initial_state(len(first))) if state else state

    def infer(
        self, network: nn.Module, observations: Mapping[str, Tensor], state: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        legal = observations[MASK][:, -1] if self._spec.masked else None
        return {"q_values": masked(self._objective.q_values(network(observations)), legal)}, {}

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
        scale = self._config.td.value_rescaling
        errors: FloatArray = td_target(window["returns"], window["discounts"], bootstrap, scale) - taken
        return np.abs(errors).astype(np.float64)

    def loss(self, online: nn.Module, target: nn.Module, batch: Mapping[str, Tensor]) -> Loss:
        loss: Loss = self._objective.loss(online, target, self._transitions(batch))
        return loss

    def _transitions(self, batch: Mapping[str, Tensor]) -> Transitions:
        from apex_ray.agent.split_states import split_states  # actors need no torch

        both = {
            name: split_states(batch[name], batch["steps"], leaf.stack) for name, leaf in self._spec.observation.items()
        }
        states, later = ({name: pair[i] for name, pair in both.items()} for i in (0, 1))
        legal, now = (later[MASK][:, -1], states[MASK][:, -1]) if self._spec.masked else (None, None)
        return Transitions(states, batch["actions"].long(), batch["returns"], batch["discounts"], later, legal, now)


def masked(q_values: Tensor, legal: Tensor | None) -> Tensor:
    """Values [B, A], -inf for actions that are not legal [B, A]. Where none is, as after an episode's end, all are."""
    if legal is None:
        return q_values
    return q_values.masked_fill(~legal & legal.any(dim=1, keepdim=True), float("-inf"))
