"""The table of keys as docs/migration.md shows it: `python -m apex_ray.rllib.table` writes it anew."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from apex_ray.rllib.keys import KEYS, Key
from apex_ray.rllib.old_names import OLD_NAMES, OLD_PARTS
from apex_ray.rllib.settings import shown

BEGIN, END = "<!-- apex_ray/rllib/keys.py -->", "<!-- end of keys.py -->"
WIDTH = 130
DOCUMENT = Path(__file__).parents[2] / "docs" / "migration.md"


def as_markdown() -> str:
    """Every key: those that become a setting or are read, those that are refused but for one value, the others."""
    lines = ["| RLlib | here | what differs |", "|---|---|---|"]
    lines += [_row(key) for key in KEYS if not _without_effect(key)]
    reasons: dict[str, list[str]] = {}
    for key in KEYS:
        if _without_effect(key):
            reasons.setdefault(key.differs.removeprefix("no effect: "), []).append(f"`{shown(key.name)}`")
    lines += ["", "Accepted, without effect:", ""]
    lines += [_wrapped(f"- {', '.join(names)}: {why}", "  ") for why, names in reasons.items()]
    old = [f"`{name}`" for name in (*OLD_NAMES, *OLD_PARTS) if shown(_now(name)) != name]
    lines += ["", _wrapped(f"Old names, taken everywhere for what is called otherwise since: {', '.join(old)}.")]
    return "\n".join(lines)


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _now(name: str) -> str:
    return OLD_NAMES.get(name) or OLD_PARTS[name]


def _without_effect(key: Key) -> bool:
    return key.differs.startswith("no effect: ")


def _row(key: Key) -> str:
    settings = ", ".join(f"`{setting}`" for setting in key.settings)
    return f"| `{shown(key.name)}` | {settings} | {key.differs} |"


def with_table(text: str) -> str:
    """A document with the table of today between its two marks."""
    between = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    return between.sub(lambda _: f"{BEGIN}\n{as_markdown()}\n{END}", text)


if __name__ == "__main__":
    DOCUMENT.write_text(with_table(DOCUMENT.read_text()))
