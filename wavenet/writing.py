"""Sound to a file or standard output as it is made, with a progress bar that shows the real-time factor."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from trainkit.errors import UserError, os_errors
from wavenet.plots import spectrogram
from wavenet.streams import Floats

FORMATS = {".wav": "WAV", ".flac": "FLAC"}
PICTURED_S = 30.0  # of sound, from its beginning
BAR = 30  # characters


@dataclass(frozen=True)
class Written:
    """How long the sound is, and how long it took."""

    sound_s: float
    took_s: float
    first_s: float  # until the first of it was written

    @property
    def factor(self) -> float:
        """Sound made in the time that it lasts."""
        return self.sound_s / max(self.took_s, 1e-9)


def check_out(out: str) -> None:
    """UserError for a name that `write` can't write to."""
    if out != "-" and Path(out).suffix.lower() not in FORMATS:
        raise UserError(f"--out {out!r}: expected a name that ends in {' or '.join(FORMATS)}, or -")


def write(chunks: Iterable[Floats], rate: int, out: str, total: int | None = None) -> Written:
    """Chunks of samples [n] to `out`: .wav or .flac with a picture beside it, or - for raw 16 bits on standard output.

    `total`: how many samples they are in all, where that is known. The clock starts here: chunks may be made as they
    are asked for. UserError where the file can't be written.
    """
    try:
        suffix = Path(out).suffix.lower()
        target = None if out == "-" else soundfile.SoundFile(out, "w", rate, 1, "PCM_16", format=FORMATS[suffix])
    except (soundfile.LibsndfileError, OSError) as error:
        raise UserError(f"--out {out!r} can't be written: {error}") from None
    started, first, done, shown = time.monotonic(), 0.0, 0, list[Floats]()
    for part in chunks:
        if target is None:
            sys.stdout.buffer.write(np.round(part * 32_767).astype("<i2").tobytes())
            sys.stdout.buffer.flush()
        else:
            target.write(part)
        first = first or time.monotonic() - started
        if target is not None and done < PICTURED_S * rate:
            shown.append(part)
        done += len(part)
        if sys.stderr.isatty():
            _bar(Written(done / rate, time.monotonic() - started, first), done / total if total else None, "")
    written = Written(done / rate, time.monotonic() - started, first)
    _bar(written, 1.0, "\n")
    if target is not None:
        target.close()
        picture = Path(out).with_suffix(".png")
        with os_errors(f"{out} is made, but {picture} can't be written"):
            spectrogram(np.concatenate(shown), rate).savefig(picture, dpi=110)
        print(f"{out}, {picture}")
    return written


def _bar(so_far: Written, part: float | None, end: str) -> None:
    full = int(BAR * (part or 0))
    bar = "" if part is None else f"[{'#' * full}{' ' * (BAR - full)}] "
    factor = f"{so_far.sound_s:.2f} s of sound, {so_far.factor:.2f} x real time"
    sys.stderr.write(f"\r{bar}{factor}, the first after {so_far.first_s:.2f} s{end}")
    sys.stderr.flush()
