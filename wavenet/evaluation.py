"""How much a network knows of held-out sound, beside models that know less, in bits a sample of the same codes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from torch import Tensor

from wavenet import checkpoint
from wavenet.config import load_run_config
from wavenet.corpus import Recording, frequencies, load_corpus
from wavenet.crops import Cropper
from wavenet.fast.weights import Kind
from wavenet.features import Features, features
from wavenet.generate import Generator, upsampled
from wavenet.learning import held_out_bits
from wavenet.likelihood import softmax_bits
from wavenet.model import WaveNet
from wavenet.mu_law import CLASSES, encode

Codes = npt.NDArray[np.int64]
PREDICTOR_ORDER = 32
BATCH = 8
ROUNDING_SAMPLES = 100_000


def evaluate(run: Path) -> dict[str, float]:
    """Bits a sample on the validation files, by model."""
    config = load_run_config(run)
    corpus = load_corpus(config.data)
    model = checkpoint.load_model(run)
    config = config.model_copy(update={"model": model.config})
    made = features(config, corpus.phones)
    cropper = Cropper(model.config, config.training.segment_samples, made)
    found = {"WaveNet": held_out_bits(model.config, model, cropper.all(corpus.validation, BATCH), _alone)}
    if model.config.output == "softmax":
        found |= rounding_cost(model, corpus.validation, made)
        found |= simpler(corpus.train, corpus.validation, config.data.sample_rate)
    return found


def rounding_cost(model: WaveNet, held: Sequence[Recording], made: Features | None) -> dict[str, float]:
    """What smaller weights add to the bits, by the kernels that generate, over the first ROUNDING_SAMPLES held out."""
    bits: dict[Kind, float] = {}
    kinds: tuple[Kind, ...] = ("float32", "bfloat16", "int8")
    for kind in kinds:
        cost, left = 0.0, ROUNDING_SAMPLES
        for recording in held:
            codes = encode(recording.sound)[:left].astype(np.float32)[:, None]
            if not len(codes):
                break
            speakers = torch.tensor([recording.speaker]) if model.config.speakers else None
            local = None
            if made is not None:
                frames = made(recording, 0, -(-len(codes) // model.config.frame_samples))
                local = upsampled(model, frames)[:, : len(codes)]
            said = torch.from_numpy(Generator(model, 1, kind, speakers=speakers).listen(codes, local))
            cost += float(softmax_bits(said.transpose(0, 1), torch.from_numpy(codes.T).long()).sum())
            left -= len(codes)
        bits[kind] = cost / (ROUNDING_SAMPLES - left)
    return {f"more with {kind} weights": bits[kind] - bits["float32"] for kind in kinds[1:]}


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
