"""Reads an ApexConfig from the presets that come with the package, a .yaml file or a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from apex_ray.config.schema import ApexConfig
from trainkit.config import Loaded, load_config, preset_names
from trainkit.runs import CONFIG_FILE, open_run

TRAINER = "apex-ray"
PRESETS = Path(__file__).parent / "presets"


def load(preset: str | Path, overrides: Sequence[str] = ()) -> Loaded[ApexConfig]:
    """A preset's name or a .yaml path, with dotted overrides. UserError for every mistake."""
    return load_config(ApexConfig, PRESETS, preset, overrides)


def load_run_config(run_path: str | Path, overrides: Sequence[str] = ()) -> Loaded[ApexConfig]:
    """The configuration that a run was started with. UserError when there is no such run, or for any mistake."""
    return load_config(ApexConfig, PRESETS, open_run(run_path, TRAINER) / CONFIG_FILE, overrides)


def presets() -> list[str]:
    return preset_names(PRESETS)
