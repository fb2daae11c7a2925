"""How apex-ray finds the games of stable-retro: env.id=retro/<Game>."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel

from apex_ray.config.plugins import KWARGS, Plugin, TrainOptions
from apex_ray.config.schema import EnvConfig
from apex_ray.retro.cli import RetroOptions, Sonic
from apex_ray.retro.settings import REPORTER, RetroSettings, settings_of
from trainkit.errors import optional


class Retro(Plugin):
    settings: type[BaseModel] = RetroSettings
    free: Collection[str] = (f"{KWARGS}.stages", f"{KWARGS}.roms")
    renamed: Mapping[str, str] = {
        **{f"env.{name}": f"{KWARGS}.{name}" for name in RetroSettings.model_fields},
        "evaluation.stages": "evaluation.env_kwargs.stages",
    }
    emulated = True
    reporter = REPORTER
    commands: Mapping[str, type[Any]] = {"sonic": Sonic}
    train_options: type[TrainOptions] | None = RetroOptions

    def make(self, config: EnvConfig, num_envs: int, in_order: bool) -> Any:
        optional("stable_retro")
        from apex_ray.retro.envs import RetroEnvs  # stable-retro is loaded where it is used

        return RetroEnvs(config, num_envs, in_order)

    def scores_of(self, config: EnvConfig) -> str:
        return settings_of(config).scores_of


PLUGIN = Retro()
