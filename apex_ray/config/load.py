"""Reads an ApexConfig from the presets that come with the package, a .yaml file or a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from pydantic import BaseModel, create_model

from apex_ray.config.plugins import checked, plugin_of, renamed
from apex_ray.config.schema import ApexConfig, EnvConfig
from trainkit.config import Loaded, load_config, preset_names
from trainkit.run_layout import CONFIG_FILE
from trainkit.runs import open_run

TRAINER = "apex-ray"
PRESETS = Path(__file__).parent / "presets"


def load(preset: str | Path, overrides: Sequence[str] = ()) -> Loaded[ApexConfig]:
    """A preset's name or a .yaml path, with dotted overrides. UserError for every mistake.

    Where a plug-in is in charge, env.kwargs holds all of its settings.
    """
    exact = resolved(preset, overrides)
    if type(exact.config) is ApexConfig:
        return exact
    return Loaded(ApexConfig.model_validate(exact.config.model_dump(mode="json")), exact.sources)


def load_run_config(run_path: str | Path, overrides: Sequence[str] = ()) -> Loaded[ApexConfig]:
    """The configuration that a run was started with. UserError when there is no such run, or for any mistake."""
    return load(open_run(run_path, TRAINER) / CONFIG_FILE, overrides)


def resolved(preset: str | Path, overrides: Sequence[str] = ()) -> Loaded[ApexConfig]:
    """As `load`, with a plug-in's settings as a section: each has a key, a source and a place in messages."""
    loaded = load_config(ApexConfig, PRESETS, preset, overrides, renamed)
    plugin = plugin_of(loaded.config.env.id)
    if plugin is None:
        return loaded
    exact = load_config(_with_section(plugin.settings), PRESETS, preset, overrides, renamed)
    config = ApexConfig.model_validate(exact.config.model_dump())
    key = "evaluation.env_kwargs"
    checked(plugin.settings, config.env.kwargs | config.evaluation.env_kwargs, f"{exact.sources[key]}: {key}")
    return exact


@cache
def _with_section(settings: type[BaseModel]) -> type[ApexConfig]:
    """ApexConfig with these settings in place of the free mapping env.kwargs."""
    env = create_model("EnvConfig", __base__=EnvConfig, kwargs=(settings, settings()))
    return create_model("ApexConfig", __base__=ApexConfig, env=(env, ...))


def presets() -> list[str]:
    return preset_names(PRESETS)
