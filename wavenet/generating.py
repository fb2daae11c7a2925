"""From a run and what `apex-wavenet generate` is told to a file of sound."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainkit.errors import UserError
from trainkit.mu_law import encode
from trainkit.sound import UnusableError, read
from trainkit.speech.frames import analyse
from wavenet.config import PHONETIC, PRESETS, WaveNetConfig
from wavenet.corpus import Recording, trim_db
from wavenet.given_frames import read_given
from wavenet.notes import SUFFIXES, Score, read_score
from wavenet.streams import Floats
from wavenet.voice import Draws, Voice, silent
from wavenet.writing import Written, check_out, write

USES = {
    "like": "--like FILE, whose spectrum it sounds",
    "frames": "--frames FILE, which it sounds",
    "score": "--score FILE, that it plays",
}
TAKES = {"mel": ("like",), "frames": ("like", "frames"), "notes": ("score",)}  # by data.conditions


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to make."""

    seconds: float = 3.0  # where no condition says how long
    prime: str | None = None
    like: str | None = None
    frames: str | None = None
    score: str | None = None
    speaker: str | None = None


def generate_to(run: Path, request: Request, draws: Draws, out: str) -> Written:
    """Write sound to `out`, as `write`. UserError for what the run does not take, and for files that can't be used."""
    config = PRESETS.load_run(run)
    _check(run, config, request)
    check_out(out)
    voice = Voice(run, draws, request.speaker)
    if request.prime:
        voice.hear(_primed(config, request.prime))
    piece = _piece(voice.config, request)
    return write(voice.sound(piece), voice.rate, out, len(piece.samples))


def _check(run: Path, config: WaveNetConfig, request: Request) -> None:
    conditions = config.data.conditions
    if conditions in PHONETIC:
        raise UserError(f"run {str(run)!r} says what phones tell it; expected apex-wavenet speak {run} TEXT")
    given, taken = [flag for flag in USES if getattr(request, flag)], TAKES.get(conditions, ())
    wrong = [f"no --{flag}" for flag in given if flag not in taken]
    if wrong or len(given) != bool(taken):
        wanted = " and ".join(wrong) or " or ".join(USES[flag] for flag in taken)
        raise UserError(f"run {str(run)!r} was trained with data.conditions={conditions}; expected {wanted}")
    if request.prime and conditions != "none":
        raise UserError(f"--prime {request.prime!r}: nothing says the {conditions} of it; expected no --prime")


def _piece(config: WaveNetConfig, request: Request) -> Recording:
    """What is sounded: its samples say how long it is."""
    rate, settings = config.data.sample_rate, config.data.frames
    if request.like:
        like = _samples_of("--like", request.like, config)
        frames = analyse(like, settings) if config.data.conditions == "frames" else None
        return Recording(request.like, np.round(like * 32_767).astype(np.int16), frames=frames)
    if request.frames:
        given = read_given(request.frames, settings)
        return Recording(request.frames, silent(given.samples), frames=given)
    if request.score:
        played = _score(request.score)
        return Recording(request.score, silent(int(played.seconds * rate)), score=played)
    return Recording("", silent(int(request.seconds * rate)))


def _primed(config: WaveNetConfig, name: str) -> Floats:
    """The end of a recording as the generator hears it, [N, 1]: as much as it remembers."""
    recorded = _samples_of("--prime", name, config)[-config.model.receptive_field :]
    return (encode(recorded) if config.model.output == "softmax" else recorded).astype(np.float32)[:, None]


def _samples_of(flag: str, name: str, config: WaveNetConfig) -> Floats:
    """A file's samples [N] in [-1, 1], as the network's own recordings were read."""
    path = Path(name).expanduser()
    if not path.is_file():
        raise UserError(f"{flag} {name!r} does not exist; expected a file of sound")
    try:
        return read(path, config.data.sample_rate, trim_db(config.data))
    except UnusableError as error:
        raise UserError(f"{flag} {name!r} {error}") from None


def _score(name: str) -> Score:
    path = Path(name).expanduser()
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"--score {name!r}: expected a name that ends in {' or '.join(SUFFIXES)}")
    try:
        return read_score(path)
    except ValueError as error:
        raise UserError(f"--score {name!r} {error}") from None
