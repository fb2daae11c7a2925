"""Text as eSpeak NG can read it, sentence by sentence.

Its Japanese knows kana only, and spells kanji out in English; its English takes the full stop of a title for a
sentence's end.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from trainkit.errors import UserError, optional, os_errors

# Particles are written by custom and spoken otherwise.
_PARTICLES = {"は": "わ", "へ": "え"}
_TITLE = re.compile(r"\b(Mrs?|Ms|Dr|Prof|St|Rev|Gen|Col|Capt|Lt|Sgt|Hon)\.(?=\s+[A-Z])")
_MONTH = re.compile(r"\b(Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.(?=\s+\d)")
# A full stop after a single capital is that of a name; one before a small letter is that of an abbreviation.
_END = re.compile(r"(?:(?<!\b[A-Z])[.!?…]+[\"'”’)\]]*\s+(?![a-z])|[。！？]+[」』）]*\s*|\n\s*\n)")
LONGEST = 400  # characters of a sentence: a longer one is cut between words


def text_of(path: Path, name: str = "") -> str:
    """A file's. UserError, with its `name` or path, when it can't be read, or is not UTF-8."""
    with os_errors(f"{name or path} can't be read"):
        try:
            return path.read_text(encoding="utf-8-sig")  # editors on Windows begin UTF-8 with a mark that is no text
        except UnicodeDecodeError as error:
            raise UserError(f"{name or path} can't be read as UTF-8: {error}") from None


def as_spoken(text: str, language: str) -> str:
    """`text` with kanji brought to kana, word by word, or titles without their full stops, by language.

    UserError without pykakasi.
    """
    if language.startswith("en"):
        return _MONTH.sub(r"\1", _TITLE.sub(r"\1", text))
    if language != "ja" or not any("\u4e00" <= c <= "\u9fff" or c == "々" for c in text):
        return text
    return " ".join(_PARTICLES.get(word["orig"], word["hira"]) for word in _kakasi().convert(text))


def sentences(text: str, language: str) -> Iterator[str]:
    """Parts of a text that can be said one after the other, in the order in which they stand; none is blank."""
    spoken, begin = as_spoken(text, language), 0
    for end in [*(found.end() for found in _END.finditer(spoken)), len(spoken)]:
        yield from textwrap.wrap(spoken[begin:end], LONGEST)
        begin = end


@cache
def _kakasi() -> Any:
    return optional("pykakasi", "text in kana").kakasi()
