"""Text as eSpeak NG can read it: its Japanese knows kana only, and spells kanji out in English."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from trainkit.errors import UserError, optional, os_errors

# Particles are written by custom and spoken otherwise.
_PARTICLES = {"は": "わ", "へ": "え"}


def text_of(path: Path, name: str = "") -> str:
    """A file's. UserError, with its `name` or path, when it can't be read, or is not UTF-8."""
    with os_errors(f"{name or path} can't be read"):
        try:
            return path.read_text(encoding="utf-8-sig")  # editors on Windows begin UTF-8 with a mark that is no text
        except UnicodeDecodeError as error:
            raise UserError(f"{name or path} can't be read as UTF-8: {error}") from None


def as_spoken(text: str, language: str) -> str:
    """`text` with kanji brought to kana, word by word; other languages as they are. UserError without pykakasi."""
    if language != "ja" or not any("\u4e00" <= c <= "\u9fff" or c == "々" for c in text):
        return text
    return " ".join(_PARTICLES.get(word["orig"], word["hira"]) for word in _kakasi().convert(text))


@cache
def _kakasi() -> Any:
    message = "reading kanji needs pykakasi; expected pip install 'apex-ray[speech]', or text in kana"
    return optional("pykakasi", message).kakasi()
