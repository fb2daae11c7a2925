"""Settings from YAML presets and dotted overrides into a pydantic model, with one clear message for every mistake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from cluster.errors import UserError, did_you_mean

Model = TypeVar("Model", bound=BaseModel)
EXTENDS = "extends"
COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Loaded(Generic[Model]):
    """A validated configuration and where each of its values comes from."""

    config: Model
    sources: dict[str, str]  # dotted key -> "pong.yaml:12" or "command line"; absent: the default


@dataclass
class _Value:
    value: Any
    source: str


Settings = dict[str, _Value]  # by dotted key; only leaves


def load_config(model: type[Model], presets_dir: Path, preset: str, overrides: Sequence[str] = ()) -> Loaded[Model]:
    """The configuration of a preset's name or a YAML file's path, changed by overrides `section.key=value`.

    A file may start from another with `extends: NAME`; later values win. Raises UserError for any mistake.
    """
    settings = _read_chain(model, presets_dir, preset, ())
    for override in overrides:
        key, value = _parse_override(override)
        _set(settings, model, key, _Value(value, COMMAND_LINE))
    return Loaded(_validate(model, settings), {k: v.source for k, v in settings.items()})


def preset_names(presets_dir: Path) -> list[str]:
    return sorted(p.stem for p in presets_dir.glob("*.yaml"))


def to_yaml(config: BaseModel) -> str:
    """The whole configuration as YAML that loads back to an equal one."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def format_resolved(loaded: Loaded[Model]) -> str:
    """One line per setting: key = value  # source."""
    rows = [
        (f"{key} = {_show(value)}", loaded.sources.get(key, "default"))
        for key, value in _leaves(loaded.config.model_dump(mode="json"), type(loaded.config))
    ]
    width = max(len(left) for left, _ in rows)
    return "\n".join(f"{left:<{width}}  # {source}" for left, source in rows)


def valid_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Every dotted key that a value can be given for."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        keys += valid_keys(section, f"{prefix}{name}.") if section else [prefix + name]
    return keys


def _section(annotation: Any) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _section_at(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """The section that a dotted key names, or None for a value or an unknown key."""
    found: type[BaseModel] | None = model
    for name in key.split("."):
        field = found.model_fields.get(name) if found else None
        found = _section(field.annotation) if field else None
    return found


def _show(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()


def _leaves(values: Mapping[str, Any], model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        field = model.model_fields.get(name)
        section = _section(field.annotation) if field else None
        if section and isinstance(value, Mapping):
            yield from _leaves(value, section, f"{prefix}{name}.")
        else:
            yield prefix + name, value


# ---- files


def _read_chain(model: type[BaseModel], presets_dir: Path, name: str, seen: tuple[Path, ...]) -> Settings:
    path = _find(presets_dir, name)
    if path in seen:
        raise UserError(f"{path.name}: extends itself by way of {' -> '.join(p.name for p in (*seen, path))}")
    root = _compose(path)
    settings: Settings = {}
    for key_node, value_node in root.value:
        if key_node.value == EXTENDS:
            settings = _read_chain(model, presets_dir, value_node.value, (*seen, path))
    _collect(model, path, root, "", settings)
    return settings


def _find(presets_dir: Path, name: str) -> Path:
    if name.endswith((".yaml", ".yml")) or "/" in name:
        path = Path(name)
        if not path.is_file():
            raise UserError(f"configuration file {name!r} does not exist")
        return path
    path = presets_dir / f"{name}.yaml"
    if not path.is_file():
        names = preset_names(presets_dir)
        raise UserError(
            f"no preset {name!r}; expected one of {', '.join(names)} or a .yaml file.{did_you_mean(name, names)}"
        )
    return path


def _compose(path: Path) -> yaml.MappingNode:
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UserError(f"{path}:{line}: not valid YAML ({error.problem})") from None
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path}: can't be read ({error})") from None
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{path}: expected settings as `section:` with `key: value` lines below it")
    return root


def _collect(model: type[BaseModel], path: Path, node: yaml.MappingNode, prefix: str, settings: Settings) -> None:
    seen: set[str] = set()
    for key_node, value_node in node.value:
        name, source = str(key_node.value), f"{path.name}:{key_node.start_mark.line + 1}"
        if not prefix and name == EXTENDS:
            continue
        if name in seen:
            raise UserError(f"{source}: {prefix + name} is set twice")
        seen.add(name)
        if _section_at(model, prefix + name) and isinstance(value_node, yaml.MappingNode):
            _collect(model, path, value_node, f"{prefix}{name}.", settings)
        else:
            _set(settings, model, prefix + name, _Value(_construct(value_node), source))


def _construct(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _parse_override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"{COMMAND_LINE}: {text!r} is no override; expected section.key=value")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"{COMMAND_LINE}: {key} = {value!r} is not a valid YAML value") from None


# ---- checking


def _set(settings: Settings, model: type[BaseModel], key: str, value: _Value) -> None:
    """Record a value whose key is known; a free-form mapping (env.kwargs) also takes deeper keys."""
    valid = valid_keys(model)
    if key in valid:
        settings[key] = value
        return
    parent = next((k for k in valid if key.startswith(k + ".") and _is_mapping(model, k)), None)
    if parent:
        before = settings[parent].value if parent in settings else {}
        settings[parent] = _Value({**before, key[len(parent) + 1 :]: value.value}, value.source)
        return
    if _section_at(model, key):
        keys = ", ".join(k for k in valid if k.startswith(key + "."))
        raise UserError(f"{value.source}: {key} = {value.value!r}: {key} is a section; expected one of its keys: {keys}")
    raise UserError(f"{value.source}: unknown setting {key!r}.{_nearest(key, valid)}")


def _is_mapping(model: type[BaseModel], key: str) -> bool:
    *sections, name = key.split(".")
    parent = _section_at(model, ".".join(sections)) if sections else model
    return parent is not None and str(parent.model_fields[name].annotation).startswith("dict")


def _nearest(key: str, valid: list[str]) -> str:
    """The nearest dotted key; a key without its section is looked for in every section first."""
    same_name = [k for k in valid if k.rsplit(".", 1)[-1] == key]
    return f" Did you mean {same_name[0]!r}?" if same_name else did_you_mean(key, valid)


def _validate(model: type[Model], settings: Settings) -> Model:
    nested: dict[str, Any] = {}
    for key, value in settings.items():
        *sections, name = key.split(".")
        inner = nested
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value.value
    try:
        return model.model_validate(nested)
    except ValidationError as error:
        raise UserError(_explain(error, settings)) from None


def _explain(error: ValidationError, settings: Settings) -> str:
    """The first mistake, in words: source, key, value, what was expected."""
    first = error.errors()[0]
    parts = [str(p) for p in first["loc"]]
    # A union's branches and a list's positions follow the key in pydantic's location.
    key = next((".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in settings), None)
    if key is None:
        where = ".".join(parts)
        if first["type"] == "missing":
            return f"{where} is missing; give it in the file or as {where}=..."
        message = first["msg"].removeprefix("Value error, ")
        return f"{where}: {message}" if where else message
    same = [e for e in error.errors() if ".".join(str(p) for p in e["loc"]).startswith(key)]
    expected = " or ".join(dict.fromkeys(_expected(e) for e in same))
    hint = ""
    if isinstance(first.get("input"), str):
        allowed = [v for e in same for v in _literals(e)]
        hint = did_you_mean(first["input"], allowed) if allowed else ""
    value = settings[key]
    return f"{value.source}: {key} = {value.value!r}; expected {expected}.{hint}"


def _literals(error: Any) -> list[str]:
    text = error.get("ctx", {}).get("expected", "") if error["type"] == "literal_error" else ""
    return [part.strip(" '") for part in text.replace(" or ", ",").split(",") if part.strip()]


_WORDS = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "none_required": "null",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a section of keys",
}


def _expected(error: Any) -> str:
    kind = error["type"]
    if kind in _WORDS:
        return _WORDS[kind]
    if kind == "literal_error":
        return f"one of {', '.join(_literals(error))}"
    return str(error["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
