"""Words for what is wrong with a setting: place, key, value, what was expected, the nearest valid name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import ValidationError

from trainkit.config_schema import Schema
from trainkit.config_yaml import dump
from trainkit.errors import UserError, did_you_mean


class Settings(Protocol):
    """Raw values by dotted key, and where each came from."""

    schema: Schema

    def value(self, key: str) -> Any: ...
    def source(self, key: str) -> str: ...


def shown(value: object) -> str:
    return repr(value) if isinstance(value, str) else dump(value, flow=True)


def in_words(error: ValidationError, settings: Settings, top: str) -> str:
    """The first mistake that pydantic found, in plain words, with its place."""
    schema, details = settings.schema, error.errors(include_url=False)
    first = details[0]
    key = schema.key_of(first["loc"])
    if first["type"] == "missing":
        about = schema.descriptions.get(key) or "a value"
        return f"{top}: {key} is not set and has no default; expected {key}=VALUE: {about}"
    if key not in schema.leaves:
        message = first["msg"].removeprefix("Value error, ")
        places = [f"{leaf} from {settings.source(leaf)}" for leaf in schema.named_in(message, key)]
        return f"{key or top}: {message}" + (f" ({', '.join(places)})" if places else "")
    # A union reports each of its members: they are alternatives of one expectation.
    same = [d for d in details if schema.key_of(d["loc"]) == key]
    item = next((f"item {part + 1} " for part in first["loc"] if isinstance(part, int)), "")
    expected = [*dict.fromkeys(_expected(d) for d in same), *(["null"] if schema.takes_null(key) else [])]
    allowed = [word.strip("',") for d in same for word in str(d.get("ctx", {}).get("expected", "")).split()]
    hint = did_you_mean(str(first["input"]), allowed)
    place = f"{settings.source(key)}: {key} = {shown(settings.value(key))}"
    return f"{place}: expected {item}{' or '.join(expected)}{'.' if hint else ''}{hint}"


_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "tuple": "a list such as [1, 2]",
    "list": "a list such as [1, 2]",
    "dict": "a mapping",
    "string": "text",
    "none": "null",
}
_BOUNDS = {
    "greater_than": "more than",
    "greater_than_equal": "at least",
    "less_than": "less than",
    "less_than_equal": "at most",
}


def _expected(detail: Mapping[str, Any]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _BOUNDS:
        return f"{_BOUNDS[kind]} {next(iter(context.values()))}"
    if kind in ("literal_error", "enum"):
        return str(context["expected"])
    if kind == "string_type" and isinstance(detail["input"], int | float):
        return f"text: put it in quotes, '\"{detail['input']}\"'"
    if kind.endswith(("_type", "_parsing", "_from_float", "_required")) and kind.partition("_")[0] in _WORDS:
        return _WORDS[kind.partition("_")[0]]
    return str(detail["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")


def refuse_odd_number(key: str, raw: object, value: object, source: str) -> None:
    """Pydantic takes true for 1 and knows nan and inf; in a setting each of them is a slip."""
    if isinstance(raw, bool) and not isinstance(value, bool):
        raise UserError(f"{source}: {key} = {shown(raw)}: expected a number, not true or false")
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{source}: {key} = {raw}: expected a finite number")
