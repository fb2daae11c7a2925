"""The rolling window of an actor's streams, cut into chunks when T transitions and their n-step tails are complete."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from apex_ray.actor.priority import initial_priorities
from apex_ray.td import CONTINUES, RESET, TERMINAL, TRUNCATED, clip_rewards, n_step_returns
from apex_ray.types import AnyArray, Chunk, EnvSpec, FloatArray, IntArray, Step

_KEPT = ("frames", "q", "actions", "rewards", "kinds", "ages")  # the arrays of a window


class NStepWindow:
    """Accumulates E streams in lockstep. Position t holds an observation and what happened on the step that left it.

    `observe`, `decide`, `result` are called in that order for each step; after `decide`, `chunk()` gives the next
    chunk when one is complete. Nothing here loops over environments in Python.
    """

    def __init__(
        self,
        spec: EnvSpec,
        num_envs: int,
        chunk_transitions: int,
        n_step: int,
        discount: float,
        reward_clip: float | None,
        terminal_on_life_loss: bool,
    ) -> None:
        self._n, self._discount, self._reward_clip = n_step, discount, reward_clip
        self._terminal_on_life_loss = terminal_on_life_loss
        self._horizon, self._stack = chunk_transitions, spec.stack
        length = chunk_transitions + n_step
        # Frames of position t stand at index S - 1 + t; zeros stand before an episode's first, as environments do it.
        self._frames = np.zeros((num_envs, spec.stack - 1 + length, *spec.frame_shape), spec.frame_dtype)
        self._q = np.zeros((num_envs, length, spec.num_actions), np.float32)
        self._actions = np.zeros((num_envs, length), np.int64)
        self._rewards = np.zeros((num_envs, length), np.float32)
        self._kinds = np.full((num_envs, length), CONTINUES, np.uint8)
        self._ages = np.zeros((num_envs, length), np.uint8)
        self._t = 0
        self._next_age = np.zeros(num_envs, np.uint8)

    def observe(self, observations: AnyArray, q_values: FloatArray) -> None:
        """The state of the next position: observations [E, S, *F], of which the newest frame is kept; q [E, A]."""
        self._frames[:, self._stack - 1 + self._t] = observations[:, -1]
        self._q[:, self._t] = q_values
        self._ages[:, self._t] = self._next_age

    def decide(self, actions: IntArray) -> None:
        """The actions [E] chosen there."""
        self._actions[:, self._t] = actions
        self._t += 1

    def chunk(self) -> Chunk | None:
        """The next T transitions of every stream, or None while their tails are open.

        The arrays are views of the window: store or serialise them before the next `result`.
        """
        horizon, n = self._horizon, self._n
        if self._t < horizon + n:
            return None
        kinds = self._kinds[:, :horizon]
        returns, discounts, steps = n_step_returns(self._rewards[:, :-1], self._kinds[:, :-1], n, self._discount)
        actions = self._actions[:, :horizon]
        return Chunk(
            frames=self._frames,
            actions=actions.copy(),
            returns=returns,
            discounts=discounts,
            steps=steps,
            ages=self._ages[:, :horizon].copy(),
            priorities=initial_priorities(self._q, actions, returns, discounts, steps, kinds),
        )

    def result(self, step: Step) -> None:
        """What the environments answered to the last actions."""
        if self._t == self._horizon + self._n:
            self._roll()
        at = self._t - 1
        self._rewards[:, at] = clip_rewards(step.rewards, self._reward_clip)
        terminal = step.terminated | step.life_lost if self._terminal_on_life_loss else step.terminated
        kinds = np.where(step.truncated, TRUNCATED, CONTINUES)
        kinds = np.where(terminal, TERMINAL, kinds)
        self._kinds[:, at] = np.where(step.first, RESET, kinds)
        grown = np.minimum(self._ages[:, at] + 1, self._stack - 1)
        self._next_age = np.where(step.first, 0, grown).astype(np.uint8)

    def _roll(self) -> None:
        """Keep the n positions (and the stack's frames before them) that the next chunk starts with."""
        horizon, n = self._horizon, self._n
        for array, kept in (
            (self._frames, n + self._stack - 1),
            (self._q, n),
            (self._actions, n),
            (self._rewards, n),
            (self._kinds, n),
            (self._ages, n),
        ):
            # .copy(): source and destination overlap when T < n + S - 1.
            array[:, :kept] = array[:, horizon : horizon + kept].copy()
        self._t = n

    def state_arrays(self) -> dict[str, AnyArray]:
        """Everything needed to go on from here, as arrays (views of the live ones)."""
        at = np.asarray([self._t], np.int64)
        return {**{name: getattr(self, f"_{name}") for name in _KEPT}, "next_age": self._next_age, "t": at}

    def load_state_arrays(self, state: Mapping[str, AnyArray]) -> None:
        """What `state_arrays` gave. Raises KeyError or ValueError where it does not fit."""
        for name in _KEPT:
            getattr(self, f"_{name}")[...] = state[name]
        self._next_age, self._t = state["next_age"].astype(np.uint8), int(state["t"][0])
