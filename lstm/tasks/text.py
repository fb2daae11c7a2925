"""Text as codes: characters of a vocabulary, or the bytes of the files."""

from __future__ import annotations

import lzma
import math
from pathlib import Path

import numpy as np

from lstm.config import TextConfig
from lstm.tasks.codes import Codes, NextCode
from trainkit.errors import UserError, did_you_mean


class Text(NextCode):
    """A language model's task. `vocabulary`: the characters by code; empty for bytes."""

    def __init__(self, config: TextConfig, size: int) -> None:
        raw = read(config)
        self.level, self.vocabulary = config.level, ""
        if config.level == "characters":
            points = np.frombuffer(decoded(raw, config).encode("utf-32-le"), np.uint32)
            alphabet, codes = np.unique(points, return_inverse=True)
            self.vocabulary = "".join(map(chr, alphabet))
            codes = codes.astype(np.int32)
        else:
            codes = np.frombuffer(raw, np.uint8)
        unit = config.level.removesuffix("s")
        held = int(len(codes) * config.validation_fraction)
        fewest = size * (config.chunk + 1)
        if len(codes) - held < fewest or held <= config.chunk:
            need = math.ceil(
                max(fewest / (1 - config.validation_fraction), (config.chunk + 1) / config.validation_fraction)
            )
            raise UserError(
                f"text.path = {config.path!r} has {len(codes):,} {config.level}; expected at least {need + 1:,} "
                f"for {size} sequences of {config.chunk} (training.batch, text.chunk)"
            )
        super().__init__(codes[:-held], codes[-held:], len(self.vocabulary) or 256, size, config.chunk, unit)

    @property
    def facts(self) -> dict[str, object]:
        return {"vocabulary": self.vocabulary, "level": self.level}

    def describe(self) -> list[str]:
        kinds = f", {len(self.vocabulary)} different" if self.vocabulary else ""
        return [
            f"{len(self.train) + len(self.held_out):,} {self.level}{kinds}; the last {len(self.held_out):,} held out"
        ]

    def simpler(self) -> dict[str, float]:
        """Also what xz makes of the held-out text after that of the training."""
        kind = np.uint8 if self.shape.classes <= 256 else np.uint32
        train, both = (
            some.astype(kind).tobytes() for some in (self.train, np.concatenate([self.train, self.held_out]))
        )
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
        sizes = [len(lzma.compress(some, filters=filters)) for some in (train, both)]
        return {**super().simpler(), "xz": 8 * (sizes[1] - sizes[0]) / len(self.held_out) * math.log(2)}


def read(config: TextConfig) -> bytes:
    """The files' bytes, one after the other in the order of their names. UserError when there are none."""
    path = Path(config.path).expanduser()
    if path.is_dir():
        files = sorted(p for p in path.rglob("*.txt") if p.is_file())
        if not files:
            raise UserError(f"text.path = {config.path!r} has no .txt files in it")
    elif path.is_file():
        files = [path]
    else:
        beside = [str(p) for p in path.parent.glob("*")] if path.parent.is_dir() else []
        raise UserError(
            f"text.path = {config.path!r} does not exist; expected a text file or a folder of .txt files."
            f"{did_you_mean(str(path), beside, 0.8)}"
        )
    return b"".join(file.read_bytes() for file in files)


def decoded(raw: bytes, config: TextConfig) -> str:
    """The text, a byte order mark left out. UserError for bytes that are not in the encoding."""
    try:
        return raw.decode(config.encoding).removeprefix("\ufeff")
    except LookupError:
        raise UserError(
            f"text.encoding = {config.encoding!r} is unknown; expected utf-8, latin-1, cp1252, ..."
        ) from None
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UserError(
            f"text.path = {config.path!r}: byte 0x{raw[error.start]:02x} on line {line} is not {config.encoding}; "
            "set text.encoding (latin-1, cp1252, utf-16), or text.level=bytes"
        ) from None


def coded(prompt: str, vocabulary: str) -> Codes:
    """A prompt's codes. UserError for a character that the network does not know."""
    if not vocabulary:
        return np.frombuffer(prompt.encode(), np.uint8)
    places = {character: code for code, character in enumerate(vocabulary)}
    unknown = [character for character in prompt if character not in places]
    if unknown:
        raise UserError(f"--prompt: {unknown[0]!r} is not among the {len(vocabulary)} characters that were learned")
    return np.array([places[character] for character in prompt], np.int64)


def spelled(codes: Codes, vocabulary: str) -> str:
    """Text of codes."""
    if not vocabulary:
        return bytes(codes.astype(np.uint8)).decode("utf-8", "replace")
    return "".join(vocabulary[code] for code in codes)
