"""Code blocks of the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "k8s/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MARK = "<!-- runnable -->"
_BLOCK = re.compile(rf"^({MARK}\n)?( *)```(\w+)\n(.*?)^\2```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    text: str
    runnable: bool

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> Iterator[Block]:
    for page in PAGES:
        whole = page.read_text(encoding="utf-8")
        for mark, indent, language, text in ((m, *m.groups()[1:]) for m in _BLOCK.finditer(whole)):
            line = whole.count("\n", 0, mark.start()) + 1
            plain = "".join(row.removeprefix(indent) for row in text.splitlines(keepends=True))
            yield Block(page.relative_to(ROOT).as_posix(), line, language, plain, mark[1] is not None)
