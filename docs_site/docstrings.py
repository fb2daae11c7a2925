"""A docstring of this project as Markdown: paragraphs, lists, `Args:` and indented examples."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

from docs_site.pages import escaped

_ARGUMENT = re.compile(r"^    (\w+): (.*)$")


def as_markdown(text: str) -> list[str]:
    """Blocks, to be joined by empty lines."""
    return list(_blocks(text)) if text else []


def _blocks(text: str) -> Iterator[str]:
    for block in re.split(r"\n\s*\n", text):
        lines = block.splitlines()
        if lines[0].strip() == "Args:":
            yield _arguments(lines[1:])
        elif all(line.startswith("    ") for line in lines):
            yield "```text\n" + "\n".join(line[4:] for line in lines) + "\n```"
        else:
            yield wrapped(escaped(" ".join(line.strip() for line in lines)))


def _arguments(lines: list[str]) -> str:
    """A list; what is indented further goes on with the argument before."""
    items: list[str] = []
    for line in lines:
        if found := _ARGUMENT.match(line):
            items.append(f"- `{found[1]}`: {escaped(found[2])}")
        elif items:
            items[-1] += " " + escaped(line.strip())
    return "\n".join(wrapped(item, "  ") for item in items)


def wrapped(text: str, indent: str = "") -> str:
    """Of at most 120 characters a line, those after the first indented."""
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
