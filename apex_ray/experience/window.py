"""The rolling window of an actor's streams, cut into chunks when T steps and what their samples need are complete."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from apex_ray.config.schema import TdConfig
from apex_ray.fields import AGES, Field, Fields, stored
from apex_ray.td import CONTINUES, RESET, TERMINAL, TRUNCATED, clip_rewards, n_step_returns
from apex_ray.types import AnyArray, Chunk, EnvSpec, Float64Array, IntArray, Observations, Step
from trainkit.errors import UserError

# Names of fields that a window gives; an agent may have any of them, and whatever its network gives besides.
# Beside the observation's leaves:
ACTIONS, REWARDS = "actions", "rewards"  # of each step; rewards are clipped
RETURNS, DISCOUNTS, STEPS = "returns", "discounts", "steps"  # of the n steps that begin there; see td.n_step_returns
VALID = "valid"  # whether the step is a transition: an autoreset step is none
OF_N_STEPS = (RETURNS, DISCOUNTS, STEPS, VALID)
KINDS = "kinds"  # how the step ended, of td.py

MAX_BEFORE = 254  # what ages, one byte a step, can count

Priorities = Callable[[Mapping[str, AnyArray]], Float64Array]


class ExperienceWindow:
    """Accumulates E streams in lockstep. Position t holds an observation and what happened on the step that left it.

    `observe`, `decide`, `result` are called in that order for each step; after `decide`, `chunk()` gives the next
    chunk when one is complete. Nothing here loops over environments in Python.

    A sample begins at every `stride`-th step, and needs the tail: so many steps after its own.
    """

    def __init__(
        self,
        spec: EnvSpec,
        fields: Fields,
        outputs: Mapping[str, Field],
        priorities: Priorities,
        num_envs: int,
        chunk_transitions: int,
        td: TdConfig,
        terminal_on_life_loss: bool,
        stride: int = 1,
    ) -> None:
        """`fields`, `outputs` and `priorities` are the agent's (agent/contract.py). UserError for what is no field."""
        self._td, self._terminal_on_life_loss = td, terminal_on_life_loss
        self._fields, self._priorities = stored(fields), priorities
        self._horizon, self._stride = chunk_transitions, stride
        self._outputs = tuple(outputs)
        self._leaves = {name: Field(leaf.dtype, leaf.shape) for name, leaf in spec.observation.items()}
        seen = {**self._leaves, ACTIONS: Field("int64", spec.action_shape), REWARDS: Field("float32")}
        known = {**outputs, **seen, KINDS: Field("uint8"), AGES: Field("uint8")}
        for name, field in fields.items():
            if name not in {*known, *OF_N_STEPS}:
                names = ", ".join((*seen, *OF_N_STEPS))
                raise UserError(f"the agent's field {name!r} is neither an output of its network nor one of {names}")
            most = 0 if name in OF_N_STEPS else MAX_BEFORE
            if field.before > most:
                raise UserError(f"the agent's field {name!r} has before = {field.before}; expected at most {most}")
        n = td.n_step
        self._tail = max(n, *(f.after + (n if name in OF_N_STEPS else 0) for name, f in self._fields.items()))
        self._kept = {name: self._fields.get(name, field) for name, field in known.items()}
        self._before = max(field.before for field in self._fields.values())
        length = chunk_transitions + self._tail
        # Step t of an array stands at index before + t; zeros stand before an episode's first, as environments do it.
        self._arrays: dict[str, AnyArray] = {
            name: np.zeros((num_envs, field.before + length, *field.shape), field.dtype)
            for name, field in self._kept.items()
        }
        self._t = 0
        self._next_age = np.zeros(num_envs, np.uint8)

    def _put(self, name: str, values: AnyArray, at: int) -> None:
        self._arrays[name][:, self._kept[name].before + at] = values

    def observe(self, observations: Observations, outputs: Mapping[str, AnyArray]) -> None:
        """The state of the next position: observations, of which the newest frames are kept, and what the network gives
        for them, [E, ...].
        """
        for name in self._leaves:
            self._put(name, observations[name][:, -1], self._t)
        for name in self._outputs:
            self._put(name, outputs[name], self._t)
        self._put(AGES, self._next_age, self._t)

    def decide(self, actions: IntArray) -> None:
        """The actions [E], or [E, K] of K branches, chosen there."""
        self._put(ACTIONS, actions, self._t)
        self._t += 1

    def chunk(self) -> Chunk | None:
        """The next T steps of every stream, or None while their tails are open.

        The arrays are views of the window: store or serialise them before the next `result`.
        """
        horizon, fields, arrays = self._horizon, self._fields, self._arrays
        if self._t < horizon + self._tail:
            return None
        known = horizon + self._tail - self._td.n_step  # steps whose n-step returns are
        since = {name: array[:, self._kept[name].before :] for name, array in arrays.items()}
        rewards, kinds = (since[name][:, : known + self._td.n_step - 1] for name in (REWARDS, KINDS))
        returns, discounts, steps = n_step_returns(rewards, kinds, self._td.n_step, self._td.discount)
        of_window = {RETURNS: returns, DISCOUNTS: discounts, STEPS: steps, VALID: kinds[:, :known] != RESET}
        found = {**arrays, **of_window}
        chunk = {
            name: np.ascontiguousarray(
                found[name][:, : field.length(horizon)] if field.windowed else found[name][:, : horizon : self._stride]
            )
            for name, field in fields.items()
        }
        given = {name: since[name] for name in self._outputs} | {ACTIONS: since[ACTIONS][:, :known]}
        # A sequence that begins at an autoreset step is one all the same.
        valid = of_window[VALID][:, :horizon].reshape(-1, horizon // self._stride, self._stride).any(axis=2)
        return Chunk(chunk, valid, self._priorities({**given, **of_window}))

    def result(self, step: Step) -> None:
        """What the environments answered to the last actions."""
        if self._t == self._horizon + self._tail:
            self._roll()
        at = self._t - 1
        self._put(REWARDS, clip_rewards(step.rewards, self._td.reward_clip), at)
        terminal = step.terminated | step.life_lost if self._terminal_on_life_loss else step.terminated
        kinds = np.where(step.truncated, TRUNCATED, CONTINUES)
        kinds = np.where(terminal, TERMINAL, kinds)
        self._put(KINDS, np.where(step.first, RESET, kinds), at)
        grown = np.minimum(self._arrays[AGES][:, at] + 1, self._before)
        self._next_age = np.where(step.first, 0, grown).astype(np.uint8)

    def _roll(self) -> None:
        """Keep the tail (and what stands before it) that the next chunk starts with."""
        horizon, tail = self._horizon, self._tail
        for name, array in self._arrays.items():
            count = self._kept[name].before + tail
            # .copy(): source and destination overlap when T < tail + before.
            array[:, :count] = array[:, horizon : horizon + count].copy()
        self._t = tail

    def state_arrays(self) -> dict[str, AnyArray]:
        """Everything needed to go on from here, as arrays (views of the live ones)."""
        at = np.asarray([self._t], np.int64)
        return {**self._arrays, "next_age": self._next_age, "t": at}

    def load_state_arrays(self, state: Mapping[str, AnyArray]) -> None:
        """What `state_arrays` gave. Raises KeyError or ValueError where it does not fit."""
        for name, array in self._arrays.items():
            array[...] = state[name]
        self._next_age, self._t = state["next_age"].astype(np.uint8), int(state["t"][0])
