"""What the parser of command lines finds wrong, which it says in a box, in one line as all our mistakes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Annotated, Any, cast, get_args, get_origin, get_type_hints

from tyro.conf import Positional, arg

from trainkit.errors import did_you_mean

NUMBERS = {int: "a whole number", float: "a number"}  # as options take them
# How a field of a command is marked as a word, and with more about it.
_WORD, _ARG = cast(Any, Positional)[str].__metadata__[0], cast(Any, arg())
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # of a terminal


def in_one_line(box: str, command: type[Any] | None, words: Sequence[str]) -> str:
    """What a box of tyro's says, of options as our own mistakes."""
    said = _said(box)
    hints = get_type_hints(command, include_extras=True) if command else {}
    options = {_option(name, hint): hint for name, hint in hints.items() if not _is_word(hint)}
    if wrong := re.match(r"Error parsing (--[^\s/:]+)", said):
        kind = next((text for of, text in NUMBERS.items() if of in _kinds(options.get(wrong[1]))), "")
        given = dict(pairwise(words)).get(wrong[1])
        return f"{wrong[1]} {given}: expected {kind}" if kind and given is not None else said
    unknown = re.match(r"Unrecognized.*?: (-[^\s,=]*)", said)
    if unknown is None or command is None:
        return said
    expected = f"; expected one of {', '.join(options)}" if options else ""
    hint = did_you_mean(unknown[1], options, cutoff=0.7)
    if not hint and any("KEY=VALUE" in str(mark) for of in hints.values() if _is_word(of) for mark in _marks(of)):
        hint = f" A setting is given as {unknown[1].lstrip('-')}=VALUE, without dashes"
    return f"{words[0]} has no option {unknown[1]!r}{expected}.{hint}"


def _said(box: str) -> str:
    """The first part of a box, without its title; below a line across there is help."""
    plain = _COLOURS.sub("", box)
    rows = [row.strip("│ ") for row in plain.splitlines() if not row.startswith("╭")]
    parts = [list(part) for ruled, part in groupby(rows, lambda row: not row.strip("─-╰╯")) if not ruled]
    titles = 0 if "╭" in plain else 1  # drawn without UTF-8, the title is a part of its own
    return " ".join(parts[titles] if len(parts) > titles else plain.split())


def _option(field: str, hint: Any) -> str:
    """How it is written."""
    names = [mark.name for mark in _marks(hint) if isinstance(mark, type(_ARG)) and mark.name]
    return f"--{[field, *names][-1].replace('_', '-')}"


def _is_word(hint: Any) -> bool:
    """Whether a field is a positional word."""
    return _WORD in _marks(hint)


def _marks(hint: Any) -> tuple[Any, ...]:
    """What Annotated says of a type."""
    return getattr(hint, "__metadata__", ())


def _kinds(hint: Any) -> tuple[Any, ...]:
    """The types that a hint is of."""
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return get_args(plain) or (plain,)
