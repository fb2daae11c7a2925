"""What keys a pydantic model has, as dotted names: sections, leaves, which may be null, and the nearest valid name."""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel


class Schema:
    """The dotted keys of a model.

    A field is a section when its type is a model, an optional model or a union of models; anything else is a leaf.
    A section that is set in part takes the rest from its own class's defaults. `renamed` gives, in words, what keys of
    earlier versions are called now.
    """

    def __init__(self, model: type[BaseModel], renamed: Callable[[], Mapping[str, str]] = dict) -> None:
        self._renamed = renamed  # asked only for a key that is unknown
        self.sections: dict[str, bool] = {}  # dotted key -> may be null
        self.required_sections: list[str] = []
        self.leaves: dict[str, Any] = {}  # dotted key -> annotation
        self.descriptions: dict[str, str] = {}
        self._walk(model, "")

    def _walk(self, model: type[BaseModel], prefix: str) -> None:
        for name, field in model.model_fields.items():
            key = prefix + name
            members = list(_members(field.annotation))
            models = [m for m in members if isinstance(m, type) and issubclass(m, BaseModel)]
            if models:
                self.sections[key] = type(None) in members
                if field.is_required():
                    self.required_sections.append(key)
                for section in models:
                    self._walk(section, f"{key}.")
            else:
                self.leaves[key] = field.annotation
                self.descriptions[key] = field.description or ""

    def takes_null(self, leaf: str) -> bool:
        return type(None) in _members(self.leaves[leaf])

    def takes_mapping(self, leaf: str) -> bool:
        return any((get_origin(m) or m) in (dict, Any) for m in _members(self.leaves[leaf]))

    def leaf_above(self, key: str) -> str | None:
        """`key` itself or the leaf that it lies in: env.kwargs for env.kwargs.difficulty."""
        parts = key.split(".")
        return next((k for i in range(len(parts), 0, -1) if (k := ".".join(parts[:i])) in self.leaves), None)

    def key_of(self, loc: Sequence[int | str]) -> str:
        """The dotted key of a pydantic error's place, which also holds indices and the names of union members."""
        key = ""
        for part in loc:
            longer = f"{key}.{part}" if key else str(part)
            if longer in self.leaves or longer in self.sections:
                key = longer
        return key

    def keys_of(self, section: str) -> list[str]:
        """The keys directly in a section ('' for the top), sections too."""
        return [k for k in (*self.leaves, *self.sections) if k.rpartition(".")[0] == section]

    def named_in(self, message: str, section: str) -> list[str]:
        """The leaves of a section ('' for all) that a validator's message mentions, with or without the section."""
        words = {word.strip(",:;.()'\"") for word in message.split()}
        prefix = f"{section}." if section else ""
        return [k for k in self.leaves if k.startswith(prefix) and (k in words or k.removeprefix(prefix) in words)]

    def hint(self, key: str) -> str:
        """' Did you mean X?' with the nearest of all dotted keys, or the keys of the section when none is near."""
        if now := self._renamed().get(key):
            return f" It is now {now}"
        near = self._nearest(key)
        if near:
            return f" Did you mean {' or '.join(repr(k) for k in near)}?"
        section = key.rpartition(".")[0]
        section = section if section in self.sections else ""
        return f" {section or 'The top level'} has: {', '.join(self.keys_of(section))}"

    def _nearest(self, key: str) -> list[str]:
        section, _, name = key.rpartition(".")
        known = [*self.leaves, *self.sections]
        # A key without its section, or with another one's: what counts is the last part.
        names = sorted({k.rpartition(".")[2] for k in known})
        for candidates in ([name], _close(name, names, 0.8)):
            same = [k for k in known if k.rpartition(".")[2] in candidates]
            if same and not section:
                return same
            if same:
                return _close(key, same, 0.0)
        return _close(key, known, 0.6)


def _close(word: str, words: Iterable[str], cutoff: float) -> list[str]:
    return difflib.get_close_matches(word, list(words), n=1, cutoff=cutoff)


def _members(annotation: Any) -> Iterable[Any]:
    """The types that an annotation is a union of, Annotated stripped."""
    if get_origin(annotation) is Annotated:
        yield from _members(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation
