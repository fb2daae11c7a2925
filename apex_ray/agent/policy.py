"""An agent that acts with fixed weights: what its network gives, and what it chooses from that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from apex_ray.agent.contract import Agent, State
from apex_ray.types import AnyArray, BoolArray, FloatArray, IntArray, Observations

# Observations and a state -> the agent's outputs [E, ...] and the next state.
Infer = Callable[[Observations, State], tuple[dict[str, AnyArray], State]]


class Player(Protocol):
    """Whoever plays episodes: an agent, or a script that looks at nothing."""

    def initial_state(self, num_envs: int) -> State:
        """Of E environments whose episodes begin."""
        ...

    def act(
        self, observations: Observations, state: State, epsilons: FloatArray, rng: np.random.Generator
    ) -> tuple[IntArray, State]:
        """Actions [E] (or [E, K]) for observations of E environments, explored by epsilons [E], and the state after."""
        ...

    def next_state(self, state: State, actions: IntArray, rewards: FloatArray, first: BoolArray) -> State:
        """The state for the observations after those: as the agent's (agent/contract.py)."""
        ...


class AgentPlayer:
    """A Player whose network is `infer`."""

    def __init__(self, agent: Agent, infer: Infer) -> None:
        self._agent, self._infer = agent, infer
        self.initial_state, self.next_state = agent.initial_state, agent.next_state

    def act(
        self, observations: Observations, state: State, epsilons: FloatArray, rng: np.random.Generator
    ) -> tuple[IntArray, State]:
        outputs, after = self._infer(observations, state)
        return self._agent.choose(outputs, epsilons, rng), after
