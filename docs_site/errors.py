"""Writes docs/reference/errors.md from cures.txt: python -m docs_site.errors"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docs_site.pages import WRITTEN, cell, write

CURES = Path(__file__).with_name("cures.txt")
INTRO = """\
A mistake that you can correct ends a command with exit code 2 and one line, `error: ...`. The line names the file or
key, the value, what was expected, and the nearest valid name if there is one. The tables below say what to do about
each message; `…` stands for the part that differs. To find your message, search this page for those of its words that
do not come from you.

The folder of a run tells what happened to it: `run.json` says how it ended, `error.txt` has the traceback of an error
in code, and `stalls/` has the stacks of processes that hung.
"""


@dataclass(frozen=True)
class Cure:
    """What to do about a message."""

    group: str
    message: str  # … for what differs; a * at its end: and so on
    cure: str

    @property
    def pattern(self) -> re.Pattern[str]:
        """Matches the message as `messages` has it."""
        whole = re.escape(self.message.removesuffix("*"))
        return re.compile(whole + (".*" if self.message.endswith("*") else "") + "$", re.DOTALL)

    @property
    def said(self) -> re.Pattern[str]:
        """Found in a message as its user sees it, with anything for what differs."""
        return re.compile(".*".join(map(re.escape, self.message.removesuffix("*").strip().split("…"))), re.DOTALL)


def cures() -> list[Cure]:
    return list(_read())


def _read() -> Iterator[Cure]:
    group = message = ""
    for line in CURES.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            group = line.removeprefix("## ")
        elif line.startswith("= "):
            yield Cure(group, message, line.removeprefix("= "))
        elif line and not line.startswith("#"):
            message = line


def page() -> str:
    parts = [
        "# Error messages",
        WRITTEN.format(command="docs_site.errors", source="docs_site/cures.txt"),
        INTRO.strip(),
    ]
    found = cures()
    for group in dict.fromkeys(cure.group for cure in found):
        rows = [f"| {_code(c.message)} | {_links(c.cure)} |" for c in found if c.group == group]
        parts.append(f"## {group}\n\n| message | cure |\n|---|---|\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _code(message: str) -> str:
    shown = message.removesuffix("*").rstrip() + (" …" if message.endswith("*") else "")
    fence = "``" if "`" in shown else "`"
    return f"{fence}{re.sub(r'… …$', '…', shown)}{fence}".replace("|", r"\|")


def _links(cure: str) -> str:
    """Text of a cell; links are meant."""
    return cure.replace("|", r"\|") if "](" in cure else cell(cure)


if __name__ == "__main__":
    write({"errors.md": page})
