"""Environments that other packages bring: what a plug-in is, and where it is found.

A package brings environments with an entry point in its pyproject.toml:

    [project.entry-points."apex_ray.environments"]
    mine = "my_package.plugin:PLUGIN"

PLUGIN, an instance of a subclass of Plugin, is then in charge of every env.id that begins with `mine/`. Its module is
imported when such an id is used, and when words of the command line or keys of the settings are not apex-ray's own; it
should import nothing slow itself. (This module lies below the environments since the loader of settings needs it.)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from apex_ray.config.schema import EnvConfig
from trainkit.errors import UserError, did_you_mean, with_kind
from trainkit.section import Section

GROUP = "apex_ray.environments"
KWARGS = "env.kwargs"
M = TypeVar("M", bound=BaseModel)


class TrainOptions:
    """Options that a plug-in adds to `apex-ray train`: the base of a frozen dataclass, read by tyro, all defaults."""

    def settings(self, preset: str | None) -> list[str]:
        """The settings, KEY=VALUE, that the options which were given stand for; `preset` as on the command line."""
        raise NotImplementedError


class Plugin(ABC):
    """The contract. All but `make` may be left as it is."""

    settings: type[BaseModel] = Section  # of env.kwargs: frozen, unknown keys forbidden, every field with a default
    free: Collection[str] = ()  # those that may change when a run is resumed, such as env.kwargs.threads
    renamed: Mapping[str, str] = {}  # dotted keys of earlier versions: what they are called now
    emulated: bool = False  # whether frames are an emulator's, which is what a run's figures are called by
    reporter: str = ""  # as in EnvSpec, for pictures drawn without an environment
    commands: Mapping[str, type[Any]] = {}  # of apex-ray, by name: dataclasses read by tyro; calling one is running it
    train_options: type[TrainOptions] | None = None

    @abstractmethod
    def make(self, config: EnvConfig, num_envs: int, in_order: bool) -> Any:
        """`num_envs` environments, a VectorEnv (envs/base.py); `config.kwargs` holds all of `settings`, checked.

        With `in_order`, environments with several starts take them in turn, all together: for evaluations. UserError,
        before any starts, for what can't be played.
        """

    def scores_of(self, config: EnvConfig) -> str:
        """As in EnvSpec."""
        return ""


@cache
def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


@cache
def plugin_named(name: str) -> Plugin:
    """UserError for one that does not import."""
    point = _entry_points()[name]
    try:
        found = point.load()
    except Exception as error:  # whatever its module raises
        raise UserError(f"plug-in {name!r} ({point.value}) can't be used: {with_kind(error)}") from error
    if not isinstance(found, Plugin):
        raise UserError(f"plug-in {name!r} ({point.value}) is {found!r}; expected an instance of a subclass of Plugin")
    return found


def plugin_of(env_id: str) -> Plugin | None:
    """Who is in charge of an env.id, with or without the module before its colon; None: no plug-in."""
    name, slash, _ = env_id.rpartition(":")[2].partition("/")
    return plugin_named(name) if slash and name in _entry_points() else None


def plugin_names() -> list[str]:
    """The first parts of the ids of all that are installed; none is imported."""
    return list(_entry_points())


def plugins() -> dict[str, Plugin]:
    """All that are installed, by name."""
    return {name: plugin_named(name) for name in plugin_names()}


def renamed() -> dict[str, str]:
    """What keys of earlier versions are called now, in words."""
    return {old: f"{new!r}, for {n}/... only" for n, plugin in plugins().items() for old, new in plugin.renamed.items()}


def checked(model: type[M], values: Mapping[str, Any], key: str = KWARGS) -> M:
    """`values` as a plug-in's settings. UserError, with `key`.NAME and the value, for the first that is wrong."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    if not first["loc"]:  # of several settings together
        raise UserError(f"{key}: {first['msg'].removeprefix('Value error, ')}")
    name, known = str(first["loc"][0]), list(model.model_fields)
    if name not in known:
        if not known:
            raise UserError(f"{key}.{name} = {values.get(name)!r} has no effect: what is chosen here takes no settings")
        hint = did_you_mean(name, known)
        raise UserError(f"{key}.{name} = {values.get(name)!r}: unknown key; expected one of {', '.join(known)}.{hint}")
    allowed = str(first.get("ctx", {}).get("expected", "")).replace("'", "").replace(",", "").split()
    hint = did_you_mean(str(first["input"]), allowed)
    wanted = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    raise UserError(f"{key}.{name} = {values.get(name)!r}: expected {wanted}{'.' if hint else ''}{hint}")


def settings_of(config: EnvConfig) -> dict[str, Any]:
    """env.kwargs as YAML knows values; those of a plug-in are all there."""
    plugin = plugin_of(config.id)
    return checked(plugin.settings, config.kwargs).model_dump(mode="json") if plugin else config.kwargs
