"""Sound as mu-law codes: the next sample is one of 256."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from lstm.config import AudioConfig
from lstm.tasks.codes import Codes, NextCode
from trainkit.compiled_sound import librosa
from trainkit.errors import UserError, first_line
from trainkit.mu_law import CLASSES, decode, encode

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".au")


class Audio(NextCode):
    """All recordings of a folder, one after the other."""

    def __init__(self, config: AudioConfig, size: int) -> None:
        folder = Path(config.folder).expanduser()
        if not folder.is_dir():
            raise UserError(f"audio.folder = {config.folder!r} does not exist; expected a folder of sound")
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        parts, self._skipped = list[Codes](), list[str]()
        for path in paths:
            try:
                sound, _ = librosa.load(path, sr=config.sample_rate, mono=True)
                if not len(sound) or not np.isfinite(sound).all():
                    raise ValueError("has no samples, or some that are no numbers")
                parts.append(encode(sound).astype(np.uint8))
            except Exception as error:  # whatever a decoder raises
                self._skipped.append(f"skipped: {path.relative_to(folder)}: {first_line(error)}")
        codes = np.concatenate(parts) if parts else np.zeros(0, np.uint8)
        held = int(len(codes) * config.validation_fraction)
        if len(codes) - held < size * (config.chunk + 1) or held <= config.chunk:
            why = f" ({self._skipped[0]})" if self._skipped else ""
            raise UserError(
                f"audio.folder = {config.folder!r} has {len(codes) / config.sample_rate:.1f} s of sound in "
                f"{len(parts)} usable files of {len(paths)}{why}; expected more for {size} sequences of "
                f"{config.chunk} samples"
            )
        self._rate = config.sample_rate
        super().__init__(codes[:-held], codes[-held:], CLASSES, size, config.chunk, "sample")

    @property
    def facts(self) -> dict[str, object]:
        return {"sample_rate": self._rate}

    def describe(self) -> list[str]:
        seconds = (len(self.train) + len(self.held_out)) / self._rate
        return [
            *self._skipped,
            f"{seconds / 60:.1f} min of sound at {self._rate:,} Hz; "
            f"the last {len(self.held_out) / self._rate:.0f} s held out",
        ]


def write(path: Path, codes: Codes, rate: int) -> None:
    """16-bit sound, by the name's end."""
    soundfile.write(path, decode(codes), rate, subtype="PCM_16")
