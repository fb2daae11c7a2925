"""What is said to the user: counts with their noun, sizes in a unit that fits, rows as a table; and who says it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

Say = Callable[[str], None]  # takes a line for the user
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def quiet(line: str) -> None:
    """Says nothing: for whom nobody watches."""


def plural(count: float, noun: str, many: str = "") -> str:
    """'1 actor', '2 actors', '1,234 updates'; `many` for a noun that takes more than an s."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def size(amount_bytes: float) -> str:
    """'512 B', '3.6 MiB', '140 MiB', '1.9 GiB': never zero for what is not."""
    amount, unit = float(amount_bytes), 0
    while amount >= 999.5 and unit < len(UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.1f} {UNITS[unit]}" if unit and amount < 99.95 else f"{amount:.0f} {UNITS[unit]}"


def printable(path: str | Path) -> str:
    """As text that any file and terminal takes: bytes of a name that are no UTF-8 are spelled by their numbers."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of text in aligned columns under a head."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    )
