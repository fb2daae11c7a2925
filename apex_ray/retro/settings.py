"""What env.kwargs holds for games of stable-retro."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from apex_ray.config.plugins import checked
from apex_ray.config.schema import EnvConfig
from apex_ray.retro.cartridge.rom import NAME
from trainkit.section import Section

REPORTER = "apex_ray.retro.stages:StageReporter"
Words = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class RetroSettings(Section):
    stages: Words = Field(
        (),
        description="saved states to start from, names or patterns such as GreenHill*; Sonic: also train, test or all; "
        "empty: the game's own start, or all",
    )
    actions: Words = Field(
        (), description="buttons held together, such as RIGHT+B; NONE for no button; empty: each button alone"
    )
    scenario: str | None = Field(None, description="what is rewarded and what ends an episode; null: the game's")
    reward: Literal["scenario", "delta", "flat", "contest"] = Field(
        "scenario",
        description="scenario's own; delta: 0.01 a pixel that x exceeds its best; flat: 0.01 a step in which it does; "
        "contest: 0.01 a point that the scenario's sum exceeds its best",
    )
    roms: str | None = Field(None, description="folder with your ROMs, zipped or not; null: stable-retro's own")
    demo: bool = Field(False, description="Sonic: play the demo cartridge, which needs no ROM")

    @property
    def scores_of(self) -> str:
        """As in EnvSpec."""
        return NAME if self.demo else ""


def settings_of(config: EnvConfig) -> RetroSettings:
    return checked(RetroSettings, config.kwargs)
