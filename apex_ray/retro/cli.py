"""Of the command line: `apex-ray sonic`, and the options --roms and --demo of `apex-ray train`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from apex_ray.config.load import load
from apex_ray.config.plugins import KWARGS, TrainOptions
from trainkit.errors import UserError, did_you_mean


@dataclass(frozen=True)
class RetroOptions(TrainOptions):
    roms: Annotated[str, arg(metavar="FOLDER", help_behavior_hint="")] = ""
    """your ROMs, zipped or not, for games of stable-retro"""
    demo: Annotated[bool, arg(help_behavior_hint="")] = False
    """play our demo cartridge instead of Sonic's: needs no ROM, and its scores say nothing of Sonic"""

    def settings(self, preset: str | None) -> list[str]:
        """A demo run's folder says so in its name."""
        roms = json.dumps(str(Path(self.roms).expanduser().absolute()))
        settings = [f"{KWARGS}.roms={roms}"] if self.roms else []
        if self.demo:
            settings.append(f"{KWARGS}.demo=true")
            if preset is not None:
                settings.append(f"name={load(preset).config.name}-demo")
        return settings


@dataclass(frozen=True)
class Sonic:
    """doctor: which ROMs are there, and what can be played with them; stages: the table of the 58 stages."""

    what: Annotated[Positional[str], arg(metavar="doctor|stages")]
    """look for ROMs, or list stages"""
    words: Annotated[Positional[tuple[str, ...]], arg(metavar="[STAGE ...]", help_behavior_hint="")] = ()
    """with stages: names, patterns, train or test"""
    roms: Annotated[str, arg(metavar="FOLDER", help_behavior_hint="")] = ""
    """your ROMs, zipped or not; default: those that stable-retro was given"""
    demo: Annotated[bool, arg(help_behavior_hint="")] = False
    """look at the demo cartridge instead"""

    def __call__(self) -> int:
        if self.what == "stages":
            from apex_ray.retro.doctor import stage_list

            print(stage_list(self.words))
            return 0
        if self.what != "doctor":
            hint = did_you_mean(self.what, ["doctor", "stages"])
            raise UserError(f"command line: sonic {self.what!r}: expected doctor or stages.{hint}")
        if self.words:
            raise UserError(f"command line: sonic doctor takes no stages, but {' '.join(self.words)!r} was given")
        from apex_ray.retro.doctor import doctor

        return doctor(self.roms or None, self.demo)
