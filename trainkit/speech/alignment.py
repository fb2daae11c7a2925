"""Which phone is when in a recording whose text is known: forced alignment by PocketSphinx.

The phones are eSpeak NG's, so that a network trained on aligned recordings reads any text by the same names.
PocketSphinx is told of each word as the phones of its own English model (pip install 'apex-ray[speech]').
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.errors import UserError, optional, os_errors
from trainkit.sound import SUFFIXES, UnusableError, read
from trainkit.speech.espeak import UnsayableError, synthesize
from trainkit.speech.phones import PAUSE, bare
from trainkit.speech.reading import text_of
from trainkit.speech.spoken import words_of
from trainkit.words import Say, printable

RATE = 16_000  # that PocketSphinx' model was trained at
FRAME_S = 0.01  # of its answers
VOICE = "en-us"

# eSpeak NG's American phones as those of PocketSphinx (CMUdict's).
CMU = {
    "p": "P", "b": "B", "t": "T", "t#": "T", "t2": "T", "d": "D", "tS": "CH", "dZ": "JH", "k": "K", "g": "G",
    "f": "F", "v": "V", "T": "TH", "D": "DH", "s": "S", "z": "Z", "S": "SH", "Z": "ZH", "h": "HH", "m": "M",
    "n": "N", "N": "NG", "l": "L", "r": "R", "r-": "R", "j": "Y", "w": "W", "?": "T", ";": "", "n-": "AH N",
    "@L": "AH L", "@": "AH", "@2": "AH", "@5": "AH", "@-": "AH", "a#": "AH", "V": "AH", "3": "ER", "3:": "ER",
    "a": "AE", "aa": "AE", "A": "AA", "A:": "AA", "0": "AA", "A@": "AA R", "E": "EH", "E2": "EH", "e@": "EH R",
    "I": "IH", "I2": "IH", "I#": "IH", "i": "IY", "i:": "IY", "i@": "IY AH", "i@3": "IH R", "O": "AO", "O:": "AO",
    "O2": "AO", "O@": "AO R", "o@": "AO R", "U": "UH", "U@": "UH R", "u": "UW", "u:": "UW", "oU": "OW", "aU": "AW",
    "aI": "AY", "aI@": "AY ER", "aI3": "AY ER", "eI": "EY", "OI": "OY",
}  # fmt: skip


def align_folder(folder: Path, text: Path | None, say: Say) -> int:
    """Write NAME.json beside each recording below `folder` whose text is known; the number of those.

    `text` as in `transcripts`. A recording without text, or whose text can't be aligned, is told and left out.
    UserError when none is left, or when a library is missing.
    """
    if not folder.is_dir():
        raise UserError(f"--folder {str(folder)!r} does not exist; expected a folder of recordings")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise UserError(f"--folder {str(folder)!r} has no recordings; expected files in {', '.join(SUFFIXES)}")
    texts = transcripts(folder, text, paths)
    aligner, seconds, count = Aligner(), 0.0, 0
    for path in paths:
        name = printable(path.relative_to(folder))
        known = next((texts[key] for key in _keys(path) if key in texts), None)
        if known is None:
            say(f"skipped: {name} has no text")
            continue
        try:
            sound = read(path, RATE, None)
            facts = aligner(sound, known)
        except UnsayableError:
            say(f"skipped: {name} has a text in which there is nothing to say: {known!r}")
            continue
        except (UnusableError, ValueError) as error:
            say(f"skipped: {name} {error}")
            continue
        beside = path.with_suffix(".json")
        with os_errors(f"{str(beside)!r} can't be written"):
            beside.write_text(json.dumps(facts, ensure_ascii=False) + "\n", encoding="utf-8")
        count, seconds = count + 1, seconds + facts["seconds"]
    if not count:
        raise UserError(f"--folder {str(folder)!r}: none of {len(paths)} recordings could be aligned")
    say(f"{count} of {len(paths)} recordings aligned, {seconds / 60:.1f} min")
    return count


def transcripts(folder: Path, file: Path | None, recordings: Iterable[Path]) -> dict[str, str]:
    """Text by a recording's name without its ending, or without the `_mic1` before it that VCTK 0.92 has.

    From `file`, or folder/metadata.csv: `NAME|text` or, as LJSpeech has it, `NAME|text|text as it is spoken`. Where
    neither is there, from NAME.txt anywhere below the folder, as VCTK has it. UserError when there is nothing.
    """
    table = file or folder / "metadata.csv"
    if file is None and not table.exists():
        # No other .txt file is opened: a corpus' README need not be UTF-8.
        wanted = {key for path in recordings for key in _keys(path)}
        found = {p.stem: text_of(p).strip() for p in sorted(folder.rglob("*.txt")) if p.stem in wanted}
    else:
        rows = [line.split("|") for line in text_of(table).splitlines() if line.strip()]
        bad = next((i for i, row in enumerate(rows) if len(row) < 2), None)
        if bad is not None:
            raise UserError(f"{table} line {bad + 1}: {rows[bad][0][:40]!r}: expected NAME|text")
        found = {row[0]: row[-1].strip() for row in rows}
    if not found:
        raise UserError(f"{str(folder)!r} has no texts; expected metadata.csv with NAME|text lines, or NAME.txt files")
    return found


def _keys(recording: Path) -> tuple[str, str]:
    """What its text may be filed under, the likelier first."""
    return recording.stem, re.sub(r"_mic\d+$", "", recording.stem)


class Aligner:
    """PocketSphinx with its English model."""

    def __init__(self) -> None:
        sphinx = optional("pocketsphinx")
        # Where the first one's beams lose the path, as happens with voices unlike the model's, the second one tries.
        self._decoders: list[Any] = [
            sphinx.Decoder(lm=None, loglevel="FATAL"),
            sphinx.Decoder(lm=None, loglevel="FATAL", beam=1e-80, pbeam=1e-80, wbeam=1e-60),
        ]
        self._words: dict[str, str] = {}  # its name by its phones

    def __call__(self, sound: np.ndarray[Any, np.dtype[np.float32]], text: str) -> dict[str, Any]:
        """Of 16 kHz sound [N]: what `phones.py` reads. ValueError when the text does not fit the sound."""
        spoken = words_of(synthesize(text, VOICE))
        data = np.round(sound * 32_767).astype(np.int16).tobytes()
        found = self._aligned([self._word(names) for names, _ in spoken], data)
        phones = list[tuple[float, str]]()
        rest = (names for names, _ in spoken)
        for parts in found:
            phones += [(parts[0][0], PAUSE)] if parts[0][1] == "SIL" else _named(next(rest), [at for at, _ in parts])
        return {
            "text": text,
            "seconds": len(sound) / RATE,
            "phones": [[round(start, 3), name] for start, name in phones],
            "words": [[len(names), mark] for names, mark in spoken],
        }

    def _word(self, names: list[str]) -> str:
        """PocketSphinx' word for a sequence of phones, made known to it at first."""
        unknown = [name for name in names if bare(name) not in CMU]
        if unknown:
            raise ValueError(f"has a phone {unknown[0]!r} that the aligner does not know")
        phones = " ".join(filter(None, (CMU[bare(name)] for name in names)))
        if phones not in self._words:
            self._words[phones] = f"w{len(self._words)}"
            for decoder in self._decoders:
                decoder.add_word(self._words[phones], phones, True)
        return self._words[phones]

    def _aligned(self, words: list[str], data: bytes) -> list[list[tuple[float, str]]]:
        """(start, phone) of each word and silence."""
        for decoder in self._decoders:
            found = _path(decoder, words, data)
            if sum(parts[0][1] != "SIL" for parts in found) == len(words):
                return found
        raise ValueError("does not sound like its text")


def _path(decoder: Any, words: list[str], data: bytes) -> list[list[tuple[float, str]]]:
    """Words first, then the phones within them; nothing where there is no path."""
    try:
        decoder.set_align_text(" ".join(words))
        _hear(decoder, data)
        if decoder.hyp() is None:
            return []
        decoder.set_alignment()
        _hear(decoder, data)
        return [[(phone.start * FRAME_S, phone.name) for phone in word] for word in decoder.get_alignment()]
    except RuntimeError:
        return []


def _hear(decoder: Any, data: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(data, full_utt=True)
    decoder.end_utt()


def _named(names: list[str], starts: list[float]) -> list[tuple[float, str]]:
    """Names of eSpeak's phones with the starts of what PocketSphinx has in their place: one, several, or none."""
    found, i = list[tuple[float, str]](), 0
    for name in names:
        found.append((starts[min(i, len(starts) - 1)], name))
        i += len(CMU[bare(name)].split())
    return found
