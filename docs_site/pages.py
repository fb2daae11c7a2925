"""What all writers of reference pages share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
WRITTEN = "<!-- Written by `python -m {command}`: change {source}, not this page. -->"
_SPANS = re.compile(r"(`+[^`]*`+)")


def write(pages: Mapping[str, Callable[[], str]]) -> None:
    """Each page to docs/reference."""
    FOLDER.mkdir(exist_ok=True)
    for name, make in pages.items():
        (FOLDER / name).write_text(make(), encoding="utf-8")
        print(FOLDER / name)


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return escaped(" ".join(text.split())).replace("|", r"\|")


def escaped(text: str) -> str:
    """Text whose stars, underscores and brackets mean themselves, but for what is in backquotes."""
    return "".join(part if part.startswith("`") else _plain(part) for part in _SPANS.split(text))


def _plain(text: str) -> str:
    marked = re.sub(r"([*\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", text)
    return marked.replace("<", "&lt;").replace(">", "&gt;")
