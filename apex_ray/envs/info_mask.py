"""Action masks that an environment gives beside its observations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apex_ray.config.schema import EnvConfig
from apex_ray.envs.spaces import Choices
from apex_ray.types import MASK, BoolArray
from trainkit.errors import UserError


class InfoMask:
    """Action masks that an environment gives in its infos."""

    def __init__(self, config: EnvConfig, choices: Choices) -> None:
        self._config, self._choices = config, choices
        self.note = ""  # why what looks like a mask is none

    def found(self, info: Mapping[str, Any]) -> bool:
        """Whether the first info of a process has one. UserError where there has to be one and is not."""
        wanted, env_id = self._config.action_mask, self._config.id
        if wanted is False:
            return False
        if MASK not in info:
            if wanted is True:
                raise UserError(f"env.action_mask = true, but {env_id!r} gives none, in observations or infos")
            return False
        try:
            self.of(info, 0, 0)
        except UserError:
            if wanted is True:
                raise
            self.note = f"env.id = {env_id!r}: info[{MASK!r}] is not used, as it has not one entry for each action"
            return False
        return True

    def of(self, info: Mapping[str, Any], index: int, step: int) -> BoolArray:
        """Which actions are legal, bool [A]. UserError where it is missing or no mask."""
        where = f"env.id = {self._config.id!r}: environment {index}, step {step}"
        if MASK not in info:
            raise UserError(
                f"{where}: its info has no {MASK!r}, which the first had (env.action_mask=false: it is none)"
            )
        return self._choices.mask(info[MASK], where)
