"""A run's network, opened to sound one piece after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from trainkit.errors import UserError, did_you_mean
from wavenet import checkpoint
from wavenet.corpus import Recording
from wavenet.fast.weights import Kind
from wavenet.features import features
from wavenet.generate import Generator, begin, conditions, stream
from wavenet.graphed import GraphedGenerator
from wavenet.streams import Floats

CHUNK_S = 0.02  # of sound at a time


@dataclass(frozen=True, kw_only=True)
class Draws:
    """How samples are drawn, on what."""

    temperature: float = 1.0
    top_k: int | None = None
    weights: Kind = "bfloat16"
    seed: int = 0
    device: Literal["cpu", "cuda"] = "cpu"


class Voice:
    """One stream of sound, of one speaker: each piece goes on where the one before ended."""

    def __init__(self, run: Path, draws: Draws, speaker: str | None = None) -> None:
        """UserError for a speaker that the run does not know, or where it has none."""
        self.config, self.model = checkpoint.load_model(run)
        self.speakers, self.phones = checkpoint.known(run)
        self.rate = self.config.data.sample_rate
        self._features = features(self.config, self.phones)
        number, d = _number(self.speakers, speaker), draws
        if d.device == "cpu":
            self.generator: Generator | GraphedGenerator = Generator(
                self.model, 1, d.weights, d.seed, d.temperature, d.top_k, number
            )
        else:
            device = torch.device(d.device)
            self.generator = GraphedGenerator(self.model, 1, device, d.seed, d.temperature, d.top_k, number)
        self._silent = True

    def hear(self, given: Floats) -> None:
        """Go on from codes or numbers [N, 1], for a network without a local condition."""
        self.generator.run(len(given), None, given)
        self._silent = False

    def sound(self, piece: Recording) -> Iterator[Floats]:
        """Chunks of samples [n] in [-1, 1], as many as the piece has in all; of its own it uses all but these."""
        _, local = conditions(self.model, self._features, piece, len(piece.samples))
        if self._silent:
            begin(self.generator, local)
            self._silent = False
        for chunk in stream(self.generator, len(piece.samples), max(int(CHUNK_S * self.rate), 1), local):
            yield chunk[:, 0]


def silent(samples: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """What a piece that was never recorded has for samples, to say how long it is."""
    return np.zeros(samples, np.int16)


def _number(speakers: list[str], name: str | None) -> torch.Tensor | None:
    if not speakers:
        if name is not None:
            raise UserError(f"--speaker {name!r}: the run has no speakers")
        return None
    if name is None:
        return torch.zeros(1, dtype=torch.int64)
    if name not in speakers:
        raise UserError(f"--speaker {name!r}: expected one of {', '.join(speakers)}.{did_you_mean(name, speakers)}")
    return torch.tensor([speakers.index(name)])
