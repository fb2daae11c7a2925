"""A whole configuration of RLlib's as settings: the table of keys.py, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from ray.rllib.models.catalog import MODEL_DEFAULTS

from apex_ray.config.schema import ApexConfig
from apex_ray.rllib.conversions import SKIP
from apex_ray.rllib.environments import environment
from apex_ray.rllib.keys import KEYS, Key
from apex_ray.rllib.old_names import NESTED, OLD_NAMES, present_name
from apex_ray.rllib.values import mapping, settled, wrong
from trainkit.config_mistakes import in_words
from trainkit.config_schema import Schema
from trainkit.errors import UserError, did_you_mean

BY_NAME = {key.name: key for key in KEYS}
SCHEMA = Schema(ApexConfig)
OWN = ("own_settings", "own_parts", "run_settings")
# Of the object itself, or derived from other keys.
INTERNAL = {
    "algo_class",
    "class",
    "worker_index",
    "_is_frozen",
    "_prior_exploration_config",
    "_per_module_overrides",
    *OWN,
}
# Of these, all keys are the environment's or checked by a conversion.
FREE = ("env_config", "exploration_config")
_SHOWN = {new: old for old, new in reversed(OLD_NAMES.items()) if new.startswith("_") or new.endswith(("_", "_str"))}


def to_settings(values: Mapping[str, Any], defaults: Mapping[str, Any], own: Mapping[str, Any]) -> ApexConfig:
    """Settings from a configuration's attributes.

    Args:
        values: the attributes.
        defaults: those of a configuration that nobody has changed.
        own: settings of apex-ray's by their dotted keys, which come last.

    Raises UserError for the first key that can't be honoured.

    """
    values = completed(values, defaults)
    refuse_unknown(values, defaults)
    given = Given(values, own)
    settings = dict(given.environment)
    sources = dict.fromkeys(settings, "env")
    for key in KEYS:
        if given.has(key.name):
            found = _converted(key, given)
            settings.update(found)
            sources.update(dict.fromkeys(found, shown(key.name)))
    settings.update(own)
    sources.update(dict.fromkeys(own, "apex()"))
    return _validated(settings, sources)


def completed(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """With mappings that are whole and by today's names, also where parts of them were set in place."""
    found = dict(values)
    for owner in NESTED:
        if owner in FREE or not isinstance(values[owner], Mapping):
            continue
        parts = dict(defaults[owner] or {})
        for part, value in values[owner].items():
            name = present_name(f"{owner}.{part}")
            if name.startswith(f"{owner}."):
                parts[name.removeprefix(f"{owner}.")] = value
            else:
                found[name] = value
        found[owner] = parts
    return found


class Given:
    """The values of a configuration, checked, by RLlib's names."""

    def __init__(self, values: Mapping[str, Any], own: Mapping[str, Any]) -> None:
        self._values, self._own = values, own
        found = environment(
            settled("env", values["env"]),
            self._mapping("env_config"),
            self("horizon"),
            self("model.framestack"),
            self("evaluation_config.env_config") or {},
        )
        self.environment, self.atari = found

    def _mapping(self, name: str) -> dict[str, Any]:
        return mapping(shown(name), settled(shown(name), self._values.get(name)))

    def has(self, name: str) -> bool:
        owner, _, part = name.rpartition(".")
        return part in (self._mapping(owner) if owner else self._values)

    @property
    def samples_per_insert(self) -> float | None:
        """How often a step is trained on, on average; None: as often as there is time for."""
        own: float | None = self._own.get("replay.samples_per_insert", self("training_intensity") or 1.0)
        return own

    def __call__(self, name: str) -> Any:
        """The checked value; None for a part that is not set."""
        if not self.has(name):
            return None
        owner, _, part = name.rpartition(".")
        value = self._mapping(owner)[part] if owner else self._values[part]
        return BY_NAME[name].check(shown(name), settled(shown(name), value))


def shown(name: str) -> str:
    """As its user writes it."""
    owner, dot, part = name.partition(".")
    return _SHOWN.get(owner, owner) + dot + part


def _converted(key: Key, given: Given) -> dict[str, Any]:
    value = given(key.name)
    found: Any = key.convert(value, given) if key.settings else SKIP
    if found is SKIP:
        return {}
    return {key.settings[0]: found} if len(key.settings) == 1 else dict(found)


def refuse_unknown(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """UserError for a key that RLlib hasn't, and for one without a meaning here that was changed."""
    for name, value in values.items():
        if name in INTERNAL or name in BY_NAME or name.startswith("callbacks_on_"):
            continue
        if name in NESTED:
            _refuse_parts(name, mapping(shown(name), settled(shown(name), value)))
        elif name not in defaults:
            raise no_key(name, (*defaults, *OLD_NAMES))
        elif _differs(value, defaults[name]):
            raise wrong(shown(name), value, f"has no meaning here; expected its default, {defaults[name]!r}")


def _refuse_parts(owner: str, parts: Mapping[str, Any]) -> None:
    if owner in FREE:
        return
    known = [name.partition(".")[2] for name in BY_NAME if name.startswith(f"{owner}.")]
    for part, value in parts.items():
        if part in known:
            continue
        if owner != "model" or part not in MODEL_DEFAULTS:
            raise no_key(f"{shown(owner)}.{part}", [f"{shown(owner)}.{name}" for name in known])
        if _differs(value, MODEL_DEFAULTS[part]):
            raise wrong(f"model.{part}", value, f"has no meaning here; expected {MODEL_DEFAULTS[part]!r}")


def no_key(name: Any, known: Iterable[str]) -> UserError:
    public = [shown(k) for k in known if not k.startswith("__")]
    return UserError(f"ApexDQNConfig has no key {name!r}.{did_you_mean(str(name), public)}")


def _differs(value: Any, default: Any) -> bool:
    try:
        return bool(value != default)
    except ValueError:  # arrays, which no default is
        return True


class _Sources:
    """For messages: whose key a setting came from."""

    schema = SCHEMA

    def __init__(self, settings: Mapping[str, Any], sources: Mapping[str, str]) -> None:
        self._settings, self._sources = settings, sources

    def value(self, key: str) -> Any:
        return self._settings.get(key)

    def source(self, key: str) -> str:
        return f"ApexDQNConfig, {self._sources.get(key, 'a default')}"


def _validated(settings: Mapping[str, Any], sources: Mapping[str, str]) -> ApexConfig:
    nested: dict[str, Any] = {}
    for key, value in settings.items():
        leaf = SCHEMA.leaf_above(key)
        assert leaf is not None, "keys.py names settings that there are; apex() refuses others"
        place = nested
        *owners, last = key.split(".")
        for owner in owners:
            place = place.setdefault(owner, {})
        place[last] = value
    try:
        return ApexConfig.model_validate(nested)
    except ValidationError as error:
        raise UserError(in_words(error, _Sources(settings, sources), "ApexDQNConfig")) from None


def check_own(settings: Mapping[str, Any]) -> None:
    """UserError for a setting that apex-ray hasn't."""
    for key in settings:
        leaf = SCHEMA.leaf_above(key)
        if leaf is None or (leaf != key and not SCHEMA.takes_mapping(leaf)):
            raise UserError(f"ApexDQNConfig: no setting {key!r}.{SCHEMA.hint(key)}")
