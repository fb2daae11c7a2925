"""The type of a setting in words, with its bounds: 'whole number at least 1'."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from trainkit.count_range import CountRange

PLAIN = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null"}
BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most", "min_length": "of length at least"}


def in_words(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """Of a pydantic field's annotation; `metadata` holds what its Field and Annotated say besides."""
    if annotation is Any:
        return "anything"
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return in_words(inner, [*more, *metadata])
    if annotation is CountRange:
        return "range such as `2-8`"
    if get_origin(annotation) in (Union, types.UnionType):
        members = list(get_args(annotation))
        words = [in_words(member, [] if _is_word(member) else metadata) for member in members]
        return ", or ".join(dict.fromkeys(words))
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) is tuple:
        return _list(get_args(annotation), metadata)
    if get_origin(annotation) is dict:
        return "mapping"
    if isinstance(annotation, type) and annotation in PLAIN:
        return PLAIN[annotation] + _bounds(metadata)
    raise ValueError(f"no words for {annotation!r}: add them here")


def _list(members: tuple[Any, ...], metadata: Sequence[Any]) -> str:
    """Of a tuple; [x, y] pairs are those of a schedule."""
    if members[-1] is Ellipsis:
        return f"list{_bounds(metadata)}, each: {in_words(members[0])}"
    return "[" + ", ".join(map(in_words, members)) + "]"


def _is_word(member: Any) -> bool:
    return member is type(None) or get_origin(member) is Literal or member is CountRange


def _bounds(metadata: Sequence[Any]) -> str:
    """' at least 1' of annotated_types' marks and of pydantic's FieldInfo, whose marks lie one level deeper."""
    marks = [mark for found in metadata for mark in (getattr(found, "metadata", None) or [found])]
    said = []
    for name, words in BOUNDS.items():
        for mark in marks:
            if (bound := getattr(mark, name, None)) is not None:
                said.append(f"{words} {bound:g}" if isinstance(bound, float) else f"{words} {bound}")
    return f" {', '.join(dict.fromkeys(said))}" if said else ""
