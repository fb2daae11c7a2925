"""What the rest of the system knows of an agent. Everything else about it (network, objective, memory) is its own.

An agent holds no weights: networks are given to it, so that one description serves actors, evaluator, central inference
and learner. Its arrays come in three shapes: arrays [E, ...] of the environments of an actor, windows [E, T + n, ...]
of what an actor collected, and tensors [B, ...] of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from apex_ray.fields import Field, Fields
from apex_ray.types import AnyArray, BoolArray, Float64Array, FloatArray, IntArray

if TYPE_CHECKING:
    from torch import Tensor, nn

State = dict[str, AnyArray]  # [E, ...] by name: what a policy carries from step to step; {} for feed-forward ones


class Loss(NamedTuple):
    """Of a batch of B samples."""

    losses: Tensor  # float [B], to be weighted and averaged; gradients flow through them
    priorities: Tensor  # float [B], new |TD errors|
    metrics: dict[str, Tensor]  # scalars, by a name of report/metrics.py, or agent_...


class Agent(Protocol):
    """How to act, what to keep of it, and how to learn from that."""

    fields: Fields  # what replay keeps of a step: names of experience/window.py, and of `outputs`
    outputs: Mapping[str, Field]  # what the network gives for each step, by name
    stride: int  # steps from one sample's to the next's: 1, or of sequences more
    learned: int  # transitions that one sample is learned from: 1, or of sequences more

    def network(self) -> nn.Module:
        """A new network, its parameters drawn from torch's own generator."""
        ...

    def initial_state(self, num_envs: int) -> State:
        """The state of E environments whose episodes begin."""
        ...

    def infer(
        self, network: nn.Module, observations: Mapping[str, Tensor], state: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What the network gives for observations, leaves [E, S, *F], in a state, and the state after them.

        It runs where the network is: in an actor, in the evaluator or in central inference, for any number of
        environments at once. No random numbers are drawn here.
        """
        ...

    def next_state(self, state: State, actions: IntArray, rewards: FloatArray, first: BoolArray) -> State:
        """The state in which the next observations are seen, from what `infer` gave: `actions` were taken and brought
        rewards [E], unclipped. Environments whose episodes begin, first [E], are in their initial one (`reset_states`).
        """
        ...

    def choose(self, outputs: Mapping[str, AnyArray], epsilons: FloatArray, rng: np.random.Generator) -> IntArray:
        """Actions [E], or [E, K] of K branches, from what `infer` gave, explored by epsilons [E]. In the actor."""
        ...

    def priorities(self, window: Mapping[str, AnyArray]) -> Float64Array:
        """First |TD errors| [E, T] of a window: `outputs` [E, T + n, ...] and what experience/window.py gives [E, T].

        Those of steps that are no transition are not used.
        """
        ...

    def loss(self, online: nn.Module, target: nn.Module, batch: Mapping[str, Tensor]) -> Loss:
        """Of the agent's fields, [B, window, ...] or [B, ...]; `target` is a copy of `online` that lags behind."""
        ...


def reset_states(state: State, first: BoolArray, initial: State) -> State:
    """The state with those environments whose episodes begin, first [E], in their `initial` one."""
    if not state or not first.any():
        return state
    marks = {name: first.reshape(-1, *(1 for _ in array.shape[1:])) for name, array in state.items()}
    return {name: np.where(marks[name], initial[name], array) for name, array in state.items()}
