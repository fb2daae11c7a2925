"""Sound to a file or standard output as it is made, with a progress bar that shows the real-time factor."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
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
    are asked for. UserError where there are none, or the file can't be written.
    """
    started, rest, shown, done = time.monotonic(), iter(chunks), list[Floats](), 0
    head = next(rest, None)  # what is wrong with a text shows before there is a file
    if head is None:
        raise UserError("there is nothing to say: expected TEXT, or lines of it on standard input")
    with _opened(out, rate) as target:
        first_s = 0.0
        for part in chain([head], rest):
            target(part)
            first_s = first_s or time.monotonic() - started
            if done < PICTURED_S * rate:
                shown.append(part)
            done += len(part)
            if sys.stderr.isatty():
                _bar(Written(done / rate, time.monotonic() - started, first_s), done / total if total else None, "")
    written = Written(done / rate, time.monotonic() - started, first_s)
    _bar(written, 1.0, "\n")
    if out != "-":
        picture = Path(out).with_suffix(".png")
        with os_errors(f"{out} is made, but {picture} can't be written"):
            spectrogram(np.concatenate(shown), rate).savefig(picture, dpi=110)
        print(f"{out}, {picture}")
    return written


@contextmanager
def _opened(out: str, rate: int) -> Iterator[Callable[[Floats], None]]:
    """What takes samples to be written."""
    if out == "-":
        yield _to_standard_output
        return
    try:
        file = soundfile.SoundFile(out, "w", rate, 1, "PCM_16", format=FORMATS[Path(out).suffix.lower()])
    except (soundfile.LibsndfileError, OSError) as error:
        raise UserError(f"--out {out!r} can't be written: {error}") from None
    with file:
        yield file.write


def _to_standard_output(part: Floats) -> None:
    sys.stdout.buffer.write(np.round(part * 32_767).astype("<i2").tobytes())
    sys.stdout.buffer.flush()


def _bar(so_far: Written, part: float | None, end: str) -> None:
    full = int(BAR * (part or 0))
    bar = "" if part is None else f"[{'#' * full}{' ' * (BAR - full)}] "
    factor = f"{so_far.sound_s:.2f} s of sound, {so_far.factor:.2f} x real time"
    sys.stderr.write(f"\r{bar}{factor}, the first after {so_far.first_s:.2f} s{end}")
    sys.stderr.flush()
