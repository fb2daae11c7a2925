"""Settings of a run: a YAML preset, what it extends, dotted overrides on top, validated by a pydantic model.

`load_config` keeps where each value came from, so that `format_resolved` can show it and an error can name file and
line. Every mistake is a UserError with one message: place, key, value, what was expected, the nearest valid name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from trainkit.config_mistakes import in_words, refuse_odd_number, shown
from trainkit.config_schema import Schema
from trainkit.config_yaml import compose, construct, dump, read_mapping
from trainkit.errors import UserError, did_you_mean, nearest_path
from trainkit.run_layout import CONFIG_FILE
from trainkit.runs import open_run

M = TypeVar("M", bound=BaseModel)
COMMAND_LINE = "command line"
DEFAULT = "default"


@dataclass(frozen=True)
class Loaded(Generic[M]):
    """A validated configuration and, by dotted key, where each value came from.

    A source is "default", "command line" or "<file>:<line>"; presets are named by file name, other files by the path
    they were given by.
    """

    config: M
    sources: dict[str, str]


def load_config(
    model: type[M],
    presets_dir: Path,
    preset_or_path: str | Path,
    overrides: Sequence[str] = (),
    renamed: Callable[[], Mapping[str, str]] = dict,
) -> Loaded[M]:
    """The configuration of a preset's name or a .yaml path, with `overrides` such as "actors.count=8" on top.

    A file may name another one with `extends:`; sections merge, every other value (lists and free mappings too)
    replaces the one below. The last of several overrides of one key wins. `renamed` as in Schema. Raises UserError for
    every mistake.
    """
    settings = _Settings(Schema(model, renamed))
    chain = _read_chain(str(preset_or_path), presets_dir)
    for label, node in chain:
        settings.merge(node, "", _in_file(label))
    for text in overrides:
        settings.override(text)
    for key in settings.schema.required_sections:
        settings.ensure_section(key)  # so that a missing value is reported by its own key
    try:
        config = model.model_validate(settings.data)
    except ValidationError as error:
        raise UserError(in_words(error, settings, chain[-1][0])) from None
    values = flatten(config, mode="python")
    for key, value in values.items():
        refuse_odd_number(key, settings.value(key), value, settings.source(key))
    return Loaded(config, {key: settings.source(key) for key in values})


@dataclass(frozen=True)
class Presets(Generic[M]):
    """The settings of a data-parallel trainer: their model, a folder of presets, the console script that takes them."""

    model: type[M]
    folder: Path
    trainer: str

    def names(self) -> list[str]:
        return preset_names(self.folder)

    def load(self, preset: str | Path, overrides: Sequence[str] = ()) -> Loaded[M]:
        """A preset's name or a .yaml path, with dotted overrides. UserError for every mistake."""
        return load_config(self.model, self.folder, preset, overrides)

    def load_run(self, run: str | Path, overrides: Sequence[str] = ()) -> M:
        """The configuration that a run was started with, with `overrides` on top. UserError where there is no such."""
        return self.load(self.open(run) / CONFIG_FILE, overrides).config

    def open(self, run: str | Path) -> Path:
        """The folder of an earlier run, as `open_run`."""
        return open_run(run, self.trainer)

    def split(self, words: Sequence[str]) -> tuple[str, Sequence[str]]:
        """A command line's preset, and its overrides. UserError without a preset."""
        if not words or "=" in words[0]:
            known = ", ".join(self.names())
            raise UserError(f"command line: no preset; expected one of {known} or a .yaml file, then KEY=VALUE")
        return words[0], words[1:]

    def to_train(self, words: Sequence[str], resume: str | None, kept: Sequence[str] = ()) -> tuple[M, Path | None]:
        """(configuration, run to go on with) of a train command.

        UserError for a setting that a run that goes on can't change, `kept` among them: what it learns and with which
        network is the run's own; how it trains on, and on which workers, may change.
        """
        if not resume:
            return self.load(*self.split(words)).config, None
        for word in words:
            key = word.partition("=")[0].strip()
            if key in kept or not ("=" in word and key.startswith(("training.", "workers."))):
                but = f" (but not {', '.join(kept)})" if kept else ""
                raise UserError(
                    f"command line: --resume goes on with the run's own settings; expected nothing else, or "
                    f"training.KEY=VALUE or workers.KEY=VALUE{but}, got {word!r}"
                )
        return self.load_run(resume, words), self.open(resume)

    def listed(self, words: Sequence[str]) -> str:
        """Every setting of a preset with `words` on top; without one, the presets."""
        return format_resolved(self.load(words[0], words[1:])) if words else f"presets: {', '.join(self.names())}"


def to_yaml(config: BaseModel) -> str:
    """The whole configuration as plain YAML, defaults included; loading it gives an equal configuration."""
    return dump(config.model_dump(mode="json"))


def format_resolved(loaded: Loaded[M]) -> str:
    """One line a key, aligned: `key = value   # source`."""
    rows = [(key, f"= {dump(value, flow=True)}", loaded.sources[key]) for key, value in flatten(loaded.config).items()]
    keys, values = (max(len(row[i]) for row in rows) for i in (0, 1))
    # One long value must not push every source off the screen.
    return "\n".join(f"{key:{keys}} {value:{min(values, 40)}}   # {source}" for key, value, source in rows)


def flatten(config: BaseModel, mode: Literal["json", "python"] = "json") -> dict[str, Any]:
    """Dotted key -> value in the order of the model, as YAML knows values (lists for tuples) or as Python does."""
    leaves = Schema(type(config)).leaves
    flat: dict[str, Any] = {}

    def walk(values: Mapping[str, Any], prefix: str) -> None:
        for name, value in values.items():
            if prefix + name not in leaves and isinstance(value, Mapping):
                walk(value, f"{prefix}{name}.")
            else:
                flat[prefix + name] = value

    walk(config.model_dump(mode=mode), "")
    return flat


def preset_names(presets_dir: Path) -> list[str]:
    return sorted(path.stem for path in presets_dir.glob("*.yaml"))


class _Settings:
    """The merged raw values on their way to the model, and the source of each."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.data: dict[str, Any] = {}
        self._sources: dict[str, str] = {}

    def merge(self, node: yaml.MappingNode, prefix: str, source_of: Callable[[yaml.Node], str]) -> None:
        """Put the values of a section's mapping over what is there."""
        for key_node, value_node in node.value:
            where = source_of(key_node)
            name = key_node.value if isinstance(key_node, yaml.ScalarNode) else "[...]"
            key = f"{prefix}{name}"
            if "." in name:
                raise UserError(f"{where}: {name!r} is no key; keys stand without dots, indented below their section")
            if key in self.schema.sections:
                self._put_section(key, value_node, source_of, where)
            elif key in self.schema.leaves:
                self._put(key, construct(value_node, where, key), where)
            else:
                raise UserError(f"{where}: unknown key {key!r}.{self.schema.hint(key)}")

    def override(self, text: str) -> None:
        """Apply one `dotted.key=value` of the command line."""
        key, sign, raw = (part.strip() for part in text.partition("="))
        if not sign or not key:
            raise UserError(f"{COMMAND_LINE}: {text!r} has no '='; expected key=value")
        where, leaf = f"{COMMAND_LINE}: {text}", self.schema.leaf_above(key)
        if leaf is None and key not in self.schema.sections:
            raise UserError(f"{where}: unknown key {key!r}.{self.schema.hint(key)}")
        if leaf is not None and leaf != key and not self.schema.takes_mapping(leaf):
            raise UserError(f"{where}: {leaf} is a value and has no keys of its own; expected {leaf}=VALUE")
        node = compose(raw, where)
        if node is None:
            raise UserError(f"{where}: the value is missing; {key}=null means none and {key}=\"''\" empty text")
        if leaf is None:
            self._put_section(key, node, lambda _: COMMAND_LINE, COMMAND_LINE)
        else:
            self._put(key, construct(node, COMMAND_LINE, key), COMMAND_LINE)

    def _put_section(self, key: str, node: yaml.Node, source_of: Callable[[yaml.Node], str], where: str) -> None:
        if isinstance(node, yaml.MappingNode):
            self.ensure_section(key)
            self.merge(node, f"{key}.", source_of)
            return
        value = construct(node, where, key)
        if value is not None or not self.schema.sections[key]:
            keys = ", ".join(self.schema.keys_of(key))
            raise UserError(f"{where}: {key} = {shown(value)}: {key} is a section; expected one of its keys: {keys}")
        self._put(key, None, where)

    def ensure_section(self, key: str) -> None:
        if not isinstance(self.value(key), dict):
            self._put(key, {}, None)

    def _put(self, key: str, value: object, source: str | None) -> None:
        *parents, name = key.split(".")
        level = self.data
        for parent in parents:
            if not isinstance(level.get(parent), dict):
                level[parent] = {}
            level = level[parent]
        level[name] = value
        if source is not None:
            self._sources[self.schema.leaf_above(key) or key] = source

    def value(self, key: str) -> Any:
        level: Any = self.data
        for part in key.split("."):
            level = level.get(part) if isinstance(level, dict) else None
        return level

    def source(self, key: str) -> str:
        return self._sources.get(key, DEFAULT)


def _in_file(label: str) -> Callable[[yaml.Node], str]:
    return lambda node: f"{label}:{node.start_mark.line + 1}"


def _read_chain(name: str, presets_dir: Path) -> list[tuple[str, yaml.MappingNode]]:
    """(label, content without `extends`) of each file that `name` is made of, base first."""
    path, where = _find(name, Path(), presets_dir, COMMAND_LINE), ""
    labels: dict[Path, str] = {}
    chain: list[tuple[str, yaml.MappingNode]] = []
    while True:
        label = path.name if path.parent == presets_dir else str(path)
        if path.resolve() in labels:
            raise UserError(f"{where}: extends goes in a circle: {' extends '.join([*labels.values(), label])}")
        labels[path.resolve()] = label
        node = read_mapping(path, label)
        chain.insert(0, (label, node))
        base = next((pair for pair in node.value if pair[0].value == "extends"), None)
        if base is None:
            return chain
        node.value.remove(base)
        where = _in_file(label)(base[1])
        if not isinstance(base[1], yaml.ScalarNode) or not base[1].value:
            raise UserError(f"{where}: extends: expected one preset's name or a .yaml path")
        path = _find(base[1].value, path.parent, presets_dir, f"{where}: extends")


def _find(name: str, folder: Path, presets_dir: Path, where: str) -> Path:
    """The file of a preset's name or of a path, which is relative to `folder`."""
    names = preset_names(presets_dir)
    if name in names:
        return presets_dir / f"{name}.yaml"
    path = folder / Path(name).expanduser()
    if path.is_file():
        return path
    presets = f" The presets are: {', '.join(names) or 'none'}"
    if path.is_dir():
        raise UserError(f"{where}: {name!r} is a folder; expected a preset's name or a .yaml file.{presets}")
    if path.suffix not in (".yaml", ".yml") and "/" not in name:
        raise UserError(f"{where}: unknown preset {name!r}.{did_you_mean(name, names)}{presets}")
    beside = [str(found) for found in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
    hint = did_you_mean(path.stem, names, 0.8) or nearest_path(str(path), beside)
    raise UserError(f"{where}: no such file: {name!r}.{hint}{presets}")
