"""Links of Markdown files: where they are, and which anchors a page has.

Anchors are those of a code host: a heading in lower case, without punctuation, its spaces as dashes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

LINK = re.compile(r"(!?\[(?:[^\[\]`]|`[^`]*`|\[[^\]]*\]\([^)]*\))*\])\(([^()\s]+(?:\([^()\s]*\))?)\)")
FENCE = re.compile(r"^( *)(```+|~~~+)")
HEADING = re.compile(r"^(#{1,6}) +(.*?)(?: +#+)?$")
_CODE = re.compile(r"`[^`]*`")
_OUTSIDE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//)")


@dataclass(frozen=True)
class Line:
    """A line of a Markdown file."""

    text: str
    code: bool  # inside a fence, or the fence itself


def lines(text: str) -> Iterator[Line]:
    """All lines; an indented block counts as text, which has no links in this project."""
    fence = ""
    for line in text.splitlines():
        found = FENCE.match(line)
        if fence:
            yield Line(line, True)
            fence = "" if line.strip() == fence else fence
        elif found:
            fence = found[2]
            yield Line(line, True)
        else:
            yield Line(line, False)


def targets(text: str) -> Iterator[str]:
    """What the links and pictures of a page point to, but for other sites."""
    for line in lines(text):
        if not line.code and not line.text.startswith("    "):
            yield from _in_text(_without_code(line.text))


def _in_text(text: str) -> Iterator[str]:
    for label, target in LINK.findall(text):
        if not _OUTSIDE.match(target):
            yield target
        yield from _in_text(label[label.index("[") + 1 : -1])  # a picture in a link


def rewritten(line: str, change: Callable[[str], str]) -> str:
    """A line of text whose links point to what `change` makes of their targets; links in code stay."""
    spans = [match.span() for match in _CODE.finditer(line)]

    def one(match: re.Match[str]) -> str:
        at = match.start(2)
        if any(a <= at < b for a, b in spans) or _OUTSIDE.match(match[2]):
            return match[0]
        begin = match[1].index("[") + 1
        label = rewritten(match[1][begin:-1], change)
        return f"{match[1][:begin]}{label}]({change(match[2])})"

    return LINK.sub(one, line)


def slug(heading: str) -> str:
    """The anchor of a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(text: str) -> set[str]:
    """Of a page; the second heading of one name is NAME-1, as on code hosts."""
    found: dict[str, int] = {}
    for line in lines(text):
        if not line.code and (heading := HEADING.match(line.text)):
            name = slug(heading[2])
            found[name] = found.get(name, -1) + 1
    marks = set(re.findall(r'<a id="([^"]+)">', text))
    return marks | {f"{name}-{k}" if k else name for name, most in found.items() for k in range(most + 1)}


def dead(page: Path, root: Path) -> list[str]:
    """The links of a page whose file is not in `root`, or whose anchor its page has not."""
    wrong = []
    for target in targets(page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        there = file.exists() and (file == root or root in file.parents)
        if there and anchor and file.suffix == ".md":
            there = anchor in anchors(file.read_text(encoding="utf-8"))
        if not there:
            wrong.append(target)
    return wrong


def _without_code(line: str) -> str:
    """Code in a link's text is kept, as a link may be of nothing else; other code spans are blanked."""
    return re.sub(r"`[^`]*`(?![^\[]*\]\()", "``", line)
