"""A user's own parts as settings: functions and classes become the names that other processes import them by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from apex_ray.config.schema import ApexConfig
from apex_ray.dotted import dotted_name
from trainkit.errors import UserError, did_you_mean

SETTINGS = {"make_env": "env.make", "agent": "agent", "objective": "td.objective", "torso": "network.torso"}


def with_own_parts(config: ApexConfig, parts: Mapping[str, Callable[..., Any] | str]) -> ApexConfig:
    """The configuration that names `parts`. UserError for one that can't be named, and for a part that there is not."""
    if not parts:
        return config
    values = config.model_dump()
    for part, given in parts.items():
        if part not in SETTINGS:
            known = ", ".join(SETTINGS)
            raise UserError(f"train: no part {part!r}; expected one of {known}.{did_you_mean(part, SETTINGS)}")
        name = dotted_name(given, f"train: {part}")
        section, _, key = SETTINGS[part].rpartition(".")
        (values[section] if section else values)[key] = name
        if part == "make_env":
            values["env"]["id"] = name.rpartition(":")[2]
    return ApexConfig.model_validate(values)
