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
from wavenet.learning import held_out_bits
from wavenet.mu_law import CLASSES, encode

Codes = npt.NDArray[np.int64]
PREDICTOR_ORDER = 32
BATCH = 8


def evaluate(run: Path) -> dict[str, float]:
    """Bits a sample on the validation files, by model."""
    config = load_run_config(run)
    corpus = load_corpus(config.data)
    model = checkpoint.load_model(run, config)
    cropper = Cropper(model.config, config.training.segment_samples)
    found = {"WaveNet": held_out_bits(model.config, model, cropper.all(corpus.validation, BATCH), _alone)}
    if model.config.output == "softmax":
        found |= simpler(corpus.train, corpus.validation, config.data.sample_rate)
    return found


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
