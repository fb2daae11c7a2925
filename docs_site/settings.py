"""Writes the reference of settings, made from the schemas: python -m docs_site.settings

docs/reference/settings.md (apex-ray), settings_lstm.md and settings_wavenet.md.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import lstm.config
import wavenet.config
from apex_ray.config.plugins import plugins
from apex_ray.config.resume import FIXED, STORED
from apex_ray.config.schema import ApexConfig
from docs_site.pages import WRITTEN, cell, write
from docs_site.types_in_words import in_words

APEX_INTRO = """\
This page lists every setting of a run of `apex-ray`. On the command line you write a setting as `KEY=VALUE`, such as
`actors.count=8`. In a YAML file the settings of a section are indented below its name. `apex-ray config PRESET` prints
the value of each setting and where it comes from. Defaults are those of the paper (Horgan et al. 2018) where it gives a
number; [presets](../learning.md) change them. Names contain units: `_frames` (of the emulator), `_steps` (of the
agent), `_s` (seconds).

**On `--resume`:** *free* settings may change when a run is resumed, *fixed* ones may not. *Stored* ones may change
unless the run folder holds a saved replay ([why](../DESIGN.md#resuming-a-run)).

Lists are written `[1, 2]`, mappings `{key: value}`; `null` means none. A schedule is a list of points, each an update
and a value, such as `[[0, 1.0], [1000, 0.1]]`; between points the value changes linearly.
"""
TRAINER_INTRO = """\
This page lists every setting of a run of `{program}`. On the command line you write a setting as `KEY=VALUE`, such as
`{example}`. In a YAML file the settings of a section are indented below its name. `{program} config PRESET` prints the
value of each setting and where it comes from. When a run is resumed, settings of `training` and `workers` may
change{but}.

{more}
"""


def sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """(dotted name, model) of the model and of each section below it."""
    yield prefix, model
    for name, field in model.model_fields.items():
        for section in _models(field.annotation):
            yield from sections(section, f"{prefix}.{name}" if prefix else name)


def leaves(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The settings directly in a section."""
    return {name: field for name, field in model.model_fields.items() if not _models(field.annotation)}


def page(title: str, intro: str, model: type[BaseModel], resumed: Mapping[str, str] | None, more: str = "") -> str:
    """A page with a table for each section; `resumed` says of keys what a resume may do, None: no such column."""
    parts = [f"# {title}", WRITTEN.format(command="docs_site.settings", source="the schemas"), intro.strip()]
    for section, of in sections(model):
        if table := _table(section, of, resumed):
            about = inspect.cleandoc(of.__doc__ or "") if of.__doc__ != BaseModel.__doc__ else ""
            heading = f"## {section}" if section else "## The whole run"
            parts += [heading, *([_text(about)] if about and section else []), table]
    return "\n\n".join([*parts, more.strip()] if more else parts) + "\n"


def apex() -> str:
    return page("Settings", APEX_INTRO, ApexConfig, {**FIXED, **STORED}, _of_plugins())


def of_lstm() -> str:
    but = " (but not `training.batch`)"
    tasks = ", ".join(f"`{name}`" for name in lstm.config.TASKS)
    more = f"Set exactly one of the tasks {tasks} ([LSTM](../lstm.md))."
    intro = TRAINER_INTRO.format(program="apex-lstm", example="model.hidden=256", but=but, more=more)
    return page("Settings of apex-lstm", intro, lstm.config.LstmConfig, None)


def of_wavenet() -> str:
    more = "[WaveNet](../wavenet.md) explains them."
    intro = TRAINER_INTRO.format(program="apex-wavenet", example="model.residual=64", but="", more=more)
    return page("Settings of apex-wavenet", intro, wavenet.config.WaveNetConfig, None)


PAGES = {"settings.md": apex, "settings_lstm.md": of_lstm, "settings_wavenet.md": of_wavenet}


def _of_plugins() -> str:
    """The settings of env.kwargs that each installed plug-in has."""
    parts = []
    for name, plugin in plugins().items():
        table = _table("env.kwargs", plugin.settings, None)
        parts.append(f"## env.kwargs of {name}/...\n\nThese apply only if `env.id` begins with `{name}/`.\n\n{table}")
    return "\n\n".join(parts)


def _table(section: str, model: type[BaseModel], resumed: Mapping[str, str] | None) -> str:
    rows = []
    for name, field in leaves(model).items():
        key = f"{section}.{name}" if section else name
        cells = [f"`{key}`", field.description or "", default(field), in_words(field.annotation, field.metadata)]
        if resumed is not None:
            cells.append("fixed" if key in FIXED else "stored" if key in STORED else "free")
        rows.append("| " + " | ".join(map(cell, cells)) + " |")
    if not rows:
        return ""
    names = ["setting", "meaning", "default", "type", *(["on `--resume`"] if resumed is not None else [])]
    return "\n".join([f"| {' | '.join(names)} |", "|" + "---|" * len(names), *rows])


def default(field: FieldInfo) -> str:
    """As YAML has it; that of a setting without one must be given."""
    if field.is_required():
        return "must be set"
    value = field.get_default(call_default_factory=True)
    plain = list(map(_plain, value)) if isinstance(value, tuple) else value
    dumped: str = yaml.safe_dump(plain, default_flow_style=True, width=10_000)
    return f"`{dumped.removesuffix('...' + chr(10)).strip()}`"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The sections that an annotation names."""
    members = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return [m for m in members if isinstance(m, type) and issubclass(m, BaseModel)]


def _text(about: str) -> str:
    return " ".join(about.split())


if __name__ == "__main__":
    write(PAGES)
