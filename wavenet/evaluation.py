"""How much a network knows of held-out sound, beside models that know less, in bits a sample of the same codes."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from torch import Tensor

from trainkit.errors import UserError
from trainkit.mu_law import CLASSES, encode
from trainkit.speech.cepstra import distance
from trainkit.words import Say, plural, quiet
from wavenet import checkpoint
from wavenet.config import WaveNetConfig
from wavenet.corpus import Corpus, Recording, frequencies, load_corpus
from wavenet.crops import Cropper, Crops
from wavenet.fast.weights import Kind
from wavenet.features import Features, features
from wavenet.generate import CHUNK, Generator, begin, conditions, resynthesise
from wavenet.learning import held_out_bits
from wavenet.likelihood import softmax_bits
from wavenet.model import WaveNet

Codes = npt.NDArray[np.int64]
PREDICTOR_ORDER = 32
BATCH = 8
ROUNDING_SAMPLES = 100_000


def of_others(frames_of: Features, recordings: Sequence[Recording]) -> Features:
    """Features of the next recording in the list: what a network makes of its own ones shows when they are wrong."""
    following = dict(zip((r.name for r in recordings), [*recordings[1:], recordings[0]], strict=True))
    return Features(frames_of.size, lambda recording, first, count: frames_of(following[recording.name], first, count))


@dataclass(frozen=True)
class Evaluated:
    """A run's network on its validation files."""

    bits: Mapping[str, float]  # a sample, by model
    by_file: Mapping[str, tuple[float, int]]  # bits of all samples, and their number
    output: str = "softmax"  # what a sample is: one of 256 classes, or of 65,536 numbers


def evaluate(run: Path, say: Say = quiet, alone: bool = False) -> Evaluated:
    """The network beside simpler models of the same samples. `say` gets lines on how far it is, often.

    `alone`: the network only, which is what a comparison of two runs needs.
    """
    say("reading the sound")
    config, corpus, model, frames_of = _opened(run)
    by_file = bits_by_file(config, model, corpus.validation, frames_of, say)
    found = {"WaveNet": mean_bits(by_file)}
    if alone:
        return Evaluated(found, by_file, model.config.output)
    if frames_of is not None and len(corpus.validation) > 1:
        others = of_others(frames_of, corpus.validation)
        wrong = bits_by_file(config, model, corpus.validation, others, say)
        found[f"with the {config.data.conditions} of another file"] = mean_bits(wrong)
    if config.data.said_frames is not None:
        said = features(config, corpus.phones, said=True)
        found["with an acoustic model's frames"] = mean_bits(bits_by_file(config, model, corpus.validation, said, say))
    if model.config.output == "softmax":
        found |= rounding_cost(model, corpus.validation, frames_of, say)
        say("simpler models")
        found |= simpler(corpus.train, corpus.validation, config.data.sample_rate)
    return Evaluated(found, by_file, model.config.output)


def _opened(run: Path) -> tuple[WaveNetConfig, Corpus, WaveNet, Features | None]:
    config, model = checkpoint.load_model(run)
    corpus = load_corpus(config.data, checkpoint.known(run))
    return config, corpus, model, features(config, corpus.phones)


def bits_by_file(
    config: WaveNetConfig, model: WaveNet, recordings: Sequence[Recording], frames_of: Features | None, say: Say = quiet
) -> dict[str, tuple[float, int]]:
    """(bits of all samples, their number) of each recording."""
    cropper = Cropper(model.config, config.training.segment_samples, frames_of)
    counts = {r.name: len(r.samples) for r in recordings}
    total, done = sum(counts.values()), 0

    def counted_crops(recording: Recording) -> Iterator[Crops]:
        nonlocal done
        for crops in cropper.all([recording], BATCH):
            yield crops
            done += int(crops.counted.sum())
            say(f"held-out sound: {done / total:.0%} of {total / config.data.sample_rate:,.0f} s heard")

    return {
        r.name: (held_out_bits(model.config, model, counted_crops(r), _alone) * counts[r.name], counts[r.name])
        for r in recordings
    }


def mean_bits(by_file: Mapping[str, tuple[float, int]]) -> float:
    """Bits a sample over all files."""
    return sum(bits for bits, _ in by_file.values()) / sum(samples for _, samples in by_file.values())


def compare(one: Evaluated, other: Evaluated) -> dict[str, float]:
    """How many bits a sample `other` costs more than `one` on the same files. UserError when they are not the same."""
    if one.output != other.output:
        raise UserError(f"the runs' bits are of other samples: one has model.output={one.output}, one {other.output}")
    if {n: c for n, (_, c) in one.by_file.items()} != {n: c for n, (_, c) in other.by_file.items()}:
        raise UserError("the runs were not validated on the same files; expected equal data.folder and data.trim_db")
    more = np.array([(other.by_file[n][0] - bits) / samples for n, (bits, samples) in one.by_file.items()])
    return {
        "the other run": mean_bits(other.by_file),
        "more than this one, mean of files": float(more.mean()),
        "its standard error": float(more.std(ddof=1) / len(more) ** 0.5) if len(more) > 1 else float("nan"),
        "part of files with more": float((more > 0).mean()),
    }


def rounding_cost(
    model: WaveNet, held: Sequence[Recording], frames_of: Features | None, say: Say = quiet
) -> dict[str, float]:
    """What smaller weights add to the bits, by the kernels that generate: over the beginnings of all held-out files."""
    bits: dict[Kind, float] = {}
    each = -(-ROUNDING_SAMPLES // len(held))
    kinds: tuple[Kind, ...] = ("float32", "bfloat16", "int8")
    for kind in kinds:
        cost, counted = 0.0, 0
        for i, recording in enumerate(held):
            say(f"{kind} weights: {i} of {plural(len(held), 'file')} heard")
            codes = encode(recording.sound)[:each].astype(np.float32)[:, None]
            speakers, local = conditions(model, frames_of, recording, len(codes))
            generator = Generator(model, 1, kind, speakers=speakers)
            begin(generator, local)
            for start in range(0, len(codes), CHUNK):
                some = codes[start : start + CHUNK]
                predicted = torch.from_numpy(generator.listen(some, local(start, len(some)) if local else None))
                cost += float(softmax_bits(predicted.transpose(0, 1), torch.from_numpy(some.T).long()).sum())
            counted += len(codes)
        bits[kind] = cost / counted
    return {f"more with {kind} weights": bits[kind] - bits["float32"] for kind in kinds[1:]}


def distances(run: Path, files: int, temperature: float, say: Say = quiet) -> dict[str, float]:
    """Mel-cepstral distance in dB of held-out recordings, said again by the network, to themselves and to others.

    The mean of the first `files` of them. UserError for a run without a local condition.
    """
    config, corpus, model, frames_of = _opened(run)
    if frames_of is None:
        raise UserError(f"run {str(run)!r} has no local condition, so nothing says what it should sound like")
    held, rate = corpus.validation[:files], config.data.sample_rate
    if len(held) < 2:
        raise UserError(f"run {str(run)!r} has {len(held)} held-out files; expected two, to tell one from the other")
    again = []
    for i, r in enumerate(held):
        say(f"{i} of {plural(len(held), 'file')} said again")
        again.append(resynthesise(model, frames_of, r, len(r.samples), temperature=temperature))
    same = [distance(sound, r.sound, rate) for sound, r in zip(again, held, strict=True)]
    others = [distance(sound, r.sound, rate) for sound, r in zip(again, [*held[1:], held[0]], strict=True)]
    real = [distance(a.sound, b.sound, rate) for a, b in zip(held, [*held[1:], held[0]], strict=True)]
    return {
        "to the same sentence's recording": float(np.mean(same)),
        "to another sentence's recording": float(np.mean(others)),
        "of two recordings of different sentences": float(np.mean(real)),
    }


def _alone(value: float | Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


def simpler(train: Sequence[Recording], held: Sequence[Recording], rate: int) -> dict[str, float]:
    """The codes' own frequencies, a linear predictor, and FLAC, on the same codes."""
    learned, tested = ([encode(r.sound).astype(np.int64) for r in some] for some in (train, held))
    return {
        "frequencies of codes": float(-np.log2(frequencies(train))[np.concatenate(tested)].mean()),
        f"linear predictor of order {PREDICTOR_ORDER}": linear_predictor(learned, tested, PREDICTOR_ORDER),
        "FLAC": flac(tested, rate),
    }


def linear_predictor(learned: Sequence[Codes], tested: Sequence[Codes], order: int) -> float:
    """Least squares on the last `order` codes; errors cost what their frequencies in training say."""

    def windows(codes: Codes) -> tuple[Codes, Codes]:
        x = np.concatenate([np.zeros(order), codes - CLASSES / 2])
        past = np.lib.stride_tricks.sliding_window_view(x[:-1], order)
        return past, x[order:]

    gram, moment = np.zeros((order, order)), np.zeros(order)
    for codes in learned:
        past, now = windows(codes)
        gram += past.T @ past
        moment += past.T @ now
    weights = np.linalg.solve(gram + 1e-3 * np.eye(order), moment)

    def errors(some: Sequence[Codes]) -> Codes:
        both = [windows(codes) for codes in some]
        return np.concatenate([(now - np.round(past @ weights)).astype(np.int64) for past, now in both])

    off = 2 * CLASSES
    counts = np.bincount(np.clip(errors(learned), -off, off) + off, minlength=2 * off + 1) + 0.1
    cost = -np.log2(counts / counts.sum())
    return float(cost[np.clip(errors(tested), -off, off) + off].mean())


def flac(tested: Sequence[Codes], rate: int) -> float:
    """Size of the files as 8-bit FLAC at its best compression, heads included."""
    size = 0
    for codes in tested:
        file = io.BytesIO()
        soundfile.write(file, ((codes - CLASSES // 2) << 8).astype(np.int16), rate, format="FLAC", subtype="PCM_S8",
                        compression_level=1.0)  # fmt: skip
        size += len(file.getvalue())
    return 8 * size / sum(len(codes) for codes in tested)
