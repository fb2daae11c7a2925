"""YAML as the settings use it: read as nodes, which know their lines, and written plainly.

Scalars follow YAML 1.2's core schema, not PyYAML's 1.1: 1e-4 is a number, `on` and `no` are text, 12:30 and 010 are
text too. Underscores in whole numbers stay allowed. Nothing but plain data is ever constructed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from trainkit.errors import UserError

_FLOAT = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?$")


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own name)


for _tag, _pattern, _first in (
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("null", re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("int", re.compile(r"[-+]?(?:0|[1-9][0-9_]*)$"), "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_first))


class _Dumper(yaml.SafeDumper):
    """Quotes whatever YAML 1.1 or the loader above would take for something other than text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def dump(value: object, flow: bool = False) -> str:
    """Block YAML in the given order, or one line of flow YAML."""
    text = yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=flow,
        width=float("inf"),
    )
    return text.removesuffix("...\n").rstrip("\n") if flow else text


def compose(text: str, where: str) -> yaml.Node | None:
    """The node of one YAML document, None when it is empty. UserError, which names the line, where it is broken."""
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        above = text[: error.position].split("\n")
        line, character = len(above), len(above[-1]) + 1
        shown = text.split("\n")[line - 1].encode("utf-8", "backslashreplace").decode()
        place = f":{line}" if "\n" in text else ""
        raise UserError(
            f"{where}{place}: not valid YAML: character {character} of {shown!r} is a control character or no UTF-8"
        ) from None
    try:
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        raise UserError(f"{where}{_in_words(error, text)}") from None
    finally:
        loader.dispose()
    if node is not None:
        for key, first in _duplicates(node, set()):
            lines = (first.start_mark.line + 1, key.start_mark.line + 1)
            place, before = (f":{lines[1]}", f", first on line {lines[0]}") if "\n" in text else ("", "")
            raise UserError(f"{where}{place}: {key.value!r} is set twice{before}")
    return node


def read_mapping(path: Path, label: str) -> yaml.MappingNode:
    """The mapping that a settings file holds. UserError for anything else."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{label}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{label}:{line}: not UTF-8 text (byte 0x{error.object[error.start]:02x})") from None
    node = compose(text, label)
    if node is None:
        raise UserError(f"{label}: the file is empty; expected keys such as 'name: my-run'")
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{label}:{node.start_mark.line + 1}: expected a mapping of keys to values")
    return node


def construct(node: yaml.Node, where: str, key: str) -> Any:
    """The plain Python value of a node."""
    try:
        return _Loader("").construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError) as error:
        reason = getattr(error, "problem", None) or str(error)
        raise UserError(f"{where}: {key}: no plain value: {reason}") from None


def _in_words(error: yaml.YAMLError, text: str) -> str:
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or str(error).splitlines()[0]
    line = f":{mark.line + 1}" if mark is not None and "\n" in text else ""
    return f"{line}: not valid YAML: {reason} (text with special characters needs quotes)"


def _duplicates(node: yaml.Node, seen: set[int]) -> Iterator[tuple[yaml.ScalarNode, yaml.ScalarNode]]:
    """(key, its first mention) of each key that stands twice in one mapping, at any depth."""
    if id(node) in seen:  # an anchor's node is met again at each alias
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        first: dict[str, yaml.ScalarNode] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in first:
                    yield key, first[key.value]
                first.setdefault(key.value, key)
            yield from _duplicates(value, seen)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _duplicates(value, seen)
