"""From a run to a file of sound, chunk by chunk, with a progress bar that shows the real-time factor."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch

from trainkit.errors import UserError, did_you_mean, os_errors
from trainkit.mu_law import encode
from trainkit.sound import UnusableError, read
from trainkit.speech.espeak import synthesize
from trainkit.speech.phones import PhoneFeatures, timeline
from trainkit.speech.spoken import LANGUAGES
from trainkit.words import Say
from wavenet import checkpoint
from wavenet.config import PRESETS, WaveNetConfig
from wavenet.corpus import Recording
from wavenet.fast.weights import Kind
from wavenet.features import MelFrames
from wavenet.generate import Generator, stream, upsampled
from wavenet.graphed import GraphedGenerator
from wavenet.model import WaveNet
from wavenet.notes import SUFFIXES, Score, note_frames, read_score
from wavenet.plots import spectrogram
from wavenet.streams import Floats

FORMATS = {".wav": "WAV", ".flac": "FLAC"}
CHUNK_S = 0.02  # of sound at a time
BAR = 30  # characters


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to make, and how."""

    seconds: float = 3.0  # where no condition says how long
    prime: str | None = None
    like: str | None = None
    score: str | None = None
    speaker: str | None = None
    temperature: float = 1.0
    top_k: int | None = None
    weights: Kind = "bfloat16"
    seed: int = 0
    device: str = "cpu"


def generate_to(run: Path, request: Request, out: str) -> None:
    """Write sound to `out` (.wav, .flac with a picture beside it, or - for raw samples) as it is made."""
    config = PRESETS.load_run(run)
    conditions = config.data.conditions
    if conditions == "phones":
        raise UserError(f"run {str(run)!r} says what phones tell it; expected apex-wavenet speak {run} TEXT")
    for kind, flag, file, use in (
        ("mel", "--like", request.like, "whose spectrum it sounds"),
        ("notes", "--score", request.score, "that it plays"),
    ):
        if (conditions == kind) != bool(file):
            wanted = f"{flag} FILE, {use}" if conditions == kind else f"no {flag}, which is for data.conditions={kind}"
            raise UserError(f"run {str(run)!r} was trained with data.conditions={conditions}; expected {wanted}")
    if request.prime and conditions != "none":
        raise UserError(f"--prime {request.prime!r}: nothing says the {conditions} of it; expected no --prime")
    suffix = Path(out).suffix.lower()
    if out != "-" and suffix not in FORMATS:
        raise UserError(f"--out {out!r}: expected a name that ends in {' or '.join(FORMATS)}, or -")
    config, model = checkpoint.load_model(run)
    speakers = _speaker(run, request.speaker)
    generator = _generator(model, request, speakers)
    if request.prime:
        given = _primed(config, request.prime)
        generator.run(len(given), None, given)
    rate, frame, frames = config.data.sample_rate, model.config.frame_samples, None
    total = int(request.seconds * rate)
    if request.like:
        like = _samples_of("--like", request.like, config)
        total = len(like)
        mel_frames = MelFrames(config.data.mels, frame, rate)
        frames = mel_frames(Recording(request.like, np.round(like * 32_767).astype(np.int16)), 0, -(-total // frame))
    if request.score:
        played = _score(request.score)
        total = int(played.seconds * rate)
        frames = note_frames(played, 0, -(-total // frame), frame / rate)
    _write(model, generator, config, total, frames, out)


def speak_to(run: Path, text: str, language: str, voice: str, request: Request, out: str, say: Say = print) -> None:
    """Write `text`, said by the network at the times that eSpeak NG gives its phones, to `out`. UserError as above."""
    if Path(out).suffix.lower() not in FORMATS:
        raise UserError(f"--out {out!r}: expected a name that ends in {' or '.join(FORMATS)}")
    speakers, phones = checkpoint.known(run)
    if not phones:
        raise UserError(f"run {str(run)!r} knows no phones: it was not trained with data.conditions=phones")
    if language not in LANGUAGES:
        raise UserError(f"--language {language!r}: expected one of {', '.join(LANGUAGES)}")
    utterance = synthesize(text, LANGUAGES[language], voice)
    line = timeline(utterance.phones, utterance.seconds)
    if strange := sorted(set(line.names) - set(phones)):
        say(f"the run never learned the phones {' '.join(strange)}; where they come, it says what it likes")
    config, model = checkpoint.load_model(run)
    frames_of = PhoneFeatures(phones, model.config.frame_samples / config.data.sample_rate)
    total = int(utterance.seconds * config.data.sample_rate)
    frames = frames_of(line, 0, -(-total // model.config.frame_samples))
    folder = f"{language}-{voice}"  # as `data speech` names the folders of its voices
    speaker = _speaker(run, request.speaker or (folder if folder in speakers or len(speakers) > 1 else None))
    generator = _generator(model, request, speaker)
    _write(model, generator, config, total, frames, out)


def _generator(model: WaveNet, request: Request, speakers: torch.Tensor | None) -> Generator | GraphedGenerator:
    """One stream, by the CPU's kernels or by torch on a GPU."""
    r = request
    if r.device == "cpu":
        return Generator(model, 1, r.weights, r.seed, r.temperature, r.top_k, speakers)
    return GraphedGenerator(model, 1, torch.device(r.device), r.seed, r.temperature, r.top_k, speakers)


def _write(
    model: WaveNet,
    generator: Generator | GraphedGenerator,
    config: WaveNetConfig,
    total: int,
    frames: Floats | None,
    out: str,
) -> None:
    """`total` samples to a file with its picture, or raw to standard output, chunk by chunk."""
    rate = config.data.sample_rate
    chunk, suffix = max(int(CHUNK_S * rate), 1), Path(out).suffix.lower()
    parts = list[Floats]()
    try:
        target = None if out == "-" else soundfile.SoundFile(out, "w", rate, 1, "PCM_16", format=FORMATS[suffix])
    except (soundfile.LibsndfileError, OSError) as error:
        raise UserError(f"--out {out!r} can't be written: {error}") from None
    started = time.monotonic()
    done = 0
    for sound in stream(generator, total, chunk, None if frames is None else partial(upsampled, model, frames)):
        part = sound[:, 0]
        done += len(part)
        if target is None:
            sys.stdout.buffer.write(np.round(part * 32_767).astype("<i2").tobytes())
            sys.stdout.buffer.flush()
        else:
            target.write(part)
            parts.append(part)
        _bar(done, total, rate, time.monotonic() - started)
    if target is not None:
        target.close()
        picture = Path(out).with_suffix(".png")
        with os_errors(f"{out} is made, but {picture} can't be written"):
            spectrogram(np.concatenate(parts), rate).savefig(picture, dpi=110)
        print(f"{out}, {picture}")


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
        return read(path, config.data.sample_rate, config.data.trim_db)
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


def _speaker(run: Path, name: str | None) -> torch.Tensor | None:
    speakers = checkpoint.known(run)[0]
    if not speakers:
        if name is not None:
            raise UserError(f"--speaker {name!r}: the run has no speakers")
        return None
    if name is None:
        return torch.zeros(1, dtype=torch.int64)
    if name not in speakers:
        raise UserError(f"--speaker {name!r}: expected one of {', '.join(speakers)}.{did_you_mean(name, speakers)}")
    return torch.tensor([speakers.index(name)])


def _bar(done: int, total: int, rate: int, seconds: float) -> None:
    if not sys.stderr.isatty() and done < total:
        return
    full = BAR * done // total
    factor = done / rate / max(seconds, 1e-9)
    end = "\n" if done == total else ""
    sys.stderr.write(
        f"\r[{'#' * full}{' ' * (BAR - full)}] {done / rate:.2f} s of sound, {factor:.2f} x real time{end}"
    )
    sys.stderr.flush()
