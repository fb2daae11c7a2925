"""What environments of Gymnasium have in common, copies or vectors: their spaces, checks, masks and newest frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gymnasium import spaces

from apex_ray.config.schema import EnvConfig
from apex_ray.envs.checks import not_finite
from apex_ray.envs.spaces import Choices, Observed, mask_leaf, narrowed
from apex_ray.envs.stacks import Stacks
from apex_ray.envs.watchdog import Watched
from apex_ray.types import MASK, AnyArray, EnvSpec, IntArray
from trainkit.errors import UserError


class Observing:
    """E environments' observations, each looked at before it is kept. `spec` is whole once an info was looked at."""

    def __init__(
        self,
        config: EnvConfig,
        num_envs: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        streams: int = 1,
    ) -> None:
        """`streams`: of each environment, as in EnvSpec. UserError for spaces that can't be learned from."""
        self._config, self._choices = config, Choices(config, action_space)
        self._observed = [Observed(config, observation_space, self._choices) for _ in range(num_envs)]
        self._steps = [0] * num_envs  # of the episodes
        self.num_envs = num_envs * streams
        self.spec = EnvSpec(config.id, self._observed[0].leaves, self._choices.branches, 1, streams=streams)
        self._masked: bool | None = False if self.spec.masked else None  # by infos; None: no info was seen yet
        self._stacks = Stacks(self.spec.observation, self.num_envs)
        self._watched = Watched(config.id, config.step_limit_s)
        self._notes = narrowed(config, observation_space)
        self._actions: IntArray | None = None  # sent, and not yet answered

    @property
    def notes(self) -> list[str]:
        """What is not as the environment says and does no harm."""
        return [*self._notes, *(note for observed in self._observed for note in observed.notes)]

    def _frames(self, index: int, observation: Any, info: Mapping[str, Any]) -> list[tuple[str, AnyArray]]:
        """The leaves of what environment `index` gave."""
        step = self._steps[index]
        frames = self._observed[index].frames(observation, index, step)
        return [*frames, (MASK, self._mask(index, step, info))] if self._masked else frames

    def _look_for_mask(self, info: Mapping[str, Any]) -> None:
        """Find out by the first info of a process whether infos have masks. UserError where they must and don't."""
        wanted, env_id = self._config.action_mask, self._config.id
        if self._masked is not None:
            return
        self._masked = wanted is not False and MASK in info
        if wanted is True and not self._masked:
            raise UserError(f"env.action_mask = true, but {env_id!r} gives none, in observations or infos")
        if not self._masked:
            return
        try:
            self._mask(0, 0, info)
        except UserError:
            if wanted is True:
                raise
            self._masked = False
            what = f"info[{MASK!r}] is not used, as it has not one entry for each action"
            self._notes.append(f"env.id = {env_id!r}: {what}")
            return
        self.spec = replace(self.spec, observation={**self.spec.observation, MASK: mask_leaf(self._choices)})
        self._stacks = Stacks(self.spec.observation, self.num_envs)

    def _mask(self, index: int, step: int, info: Mapping[str, Any]) -> AnyArray:
        where = f"env.id = {self._config.id!r}: environment {index}, step {step}"
        if MASK not in info:
            raise UserError(
                f"{where}: its info has no {MASK!r}, which the first had (env.action_mask=false: it is none)"
            )
        return self._choices.mask(info[MASK], where)

    def _check_finite(self, streams: IntArray | None = None) -> None:
        """UserError where the newest frames are not finite; `streams` [E] that the environments are in, where some are
        in none.
        """
        newest = self._stacks.not_finite()
        if newest is not None:
            raise not_finite(self.spec.env_id, newest if streams is None else newest[streams], self._steps)

    def _take(self, actions: IntArray) -> None:
        """RuntimeError unless the last ones were answered."""
        if self._actions is not None:
            raise RuntimeError("send() twice without recv()")
        self._actions = actions

    def _taken(self) -> IntArray:
        """RuntimeError where there are none."""
        if self._actions is None:
            raise RuntimeError("recv() without send()")
        actions, self._actions = self._actions, None
        return actions
