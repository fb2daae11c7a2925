"""CommonMark, as code hosts read it, to what Python-Markdown reads.

That wants an empty line before a list or a table that follows a line of text, four spaces for what is in an item, and
no backslash before a | in the code of a table's cell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from docs_site.links import HEADING, lines

_ITEM = re.compile(r"^( *)([-*+]|\d+[.)])( +)\S")
_ROW = re.compile(r"^ *\|")
_CODE = re.compile(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)")


def converted(page: str) -> str:
    """A whole page."""
    out: list[str] = []
    open_items: list[tuple[int, int]] = []  # of each level: where its marker and its content begin
    before_was_code = False
    for line in lines(page):
        stripped = line.text.lstrip(" ")
        indent = len(line.text) - len(stripped)
        if not stripped:
            out.append("")
            continue
        item = None if line.code else _ITEM.match(line.text)
        new_code = line.code and not before_was_code
        if not line.code or new_code:
            # A line of text right below an item belongs to it wherever it begins; after an empty one it is indented.
            text = not item and not new_code and not stripped.startswith(("#", "|"))
            lazy = text and bool(out) and bool(out[-1].strip())
            while open_items and not lazy and indent < open_items[-1][1] and not (item and indent == open_items[-1][0]):
                open_items.pop()
        goes_on = bool(item and open_items and indent == open_items[-1][0])  # the list, with its next item
        if goes_on:
            open_items.pop()
        if not line.code and HEADING.match(line.text) and out and out[-1].strip():
            out.append("")
        level = len(open_items)
        inner = open_items[-1][1] if open_items else 0
        if item:
            if not goes_on and _needs_space(out, item=True):
                out.append("")
            open_items.append((indent, indent + len(item[2]) + len(item[3])))
            marker = f"{item[2]}{item[3]}"
            out.append(" " * 4 * level + marker + stripped[len(marker) :])
        elif open_items:
            out.append(" " * (4 * level + max(indent - inner, 0)) + stripped)
        else:
            if _ROW.match(line.text) and not line.code and _needs_space(out, item=False):
                out.append("")
            out.append(_with_plain_bars(line.text) if _ROW.match(line.text) and not line.code else line.text)
        before_was_code = line.code
    return "\n".join(_with_tables_apart(out)) + "\n"


def _with_plain_bars(row: str) -> str:
    return _CODE.sub(lambda code: code[0].replace(r"\|", "|"), row)


def _needs_space(out: list[str], item: bool) -> bool:
    """Whether the line before is text that a list or table would be read as part of."""
    if not out or not out[-1].strip():
        return False
    last = out[-1]
    if item:
        return not _ITEM.match(last) and not _in_item(out)
    return not _ROW.match(last)


def _in_item(out: list[str]) -> bool:
    """Whether the text that ends here began with an item."""
    for line in reversed(out):
        if not line.strip():
            return False
        if _ITEM.match(line):
            return True
    return False


def _with_tables_apart(page: Iterable[str]) -> list[str]:
    """Text right below a table would be a row of it."""
    out: list[str] = []
    for line in page:
        if out and _ROW.match(out[-1]) and line.strip() and not _ROW.match(line) and not line.startswith("    "):
            out.append("")
        out.append(line)
    return out
