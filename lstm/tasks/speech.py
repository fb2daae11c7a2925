"""Speech: phones with punctuation -> how long each lasts, and the frames of the sound (mel, log F0, voicing)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lstm.acoustic_network import Said
from lstm.config import SpeechConfig
from lstm.shape import Shape
from lstm.tasks.base import Batch
from lstm.tasks.phone_inputs import PhoneInputs
from trainkit.speech.aligned import Recording, read_corpus
from trainkit.speech.frames import Floats
from trainkit.speech.phones import PAUSE
from trainkit.speech.scale import Scale
from trainkit.words import Say, quiet

DURATION_WEIGHT = 2.0  # of a token's error beside a frame's, of which a token has eight or so
SORTED_BATCHES = 8  # recordings are sorted by length among so many batches: less padding, and still drawn at random


class Speech:
    """Each sequence is a recording: K tokens, T frames. A run keeps the vocabulary and the scale that it began with."""

    unit = "per frame"
    carried = False

    def __init__(
        self, config: SpeechConfig, size: int, seed: int, known: Mapping[str, Any] | None = None, say: Say = quiet
    ) -> None:
        """`known`: what `facts` were when the run began."""
        self.config = config
        self._size, self._seed = size, seed
        self.corpus = read_corpus(
            "speech.folder", config.folder, config.frames, config.speakers == "folder",
            config.validation_fraction, config.longest_s, say,
        )  # fmt: skip
        train = self.corpus.train
        if known is None:
            self.inputs = PhoneInputs(
                sorted({token.name for r in train for token in r.aligned.tokens} - {PAUSE}),
                sorted({r.aligned.language for r in train}),
                sorted({r.speaker for r in train} - {""}),
            )
            self.scale = Scale.of(r.frames() for r in train)
            self.spread = spoken_spread(train, self.scale)
            self.voices = {
                who: sorted({r.aligned.language for r in train if r.speaker == who}) for who in self.inputs.speakers
            }
        else:
            self.inputs, self.scale = PhoneInputs.read(known["inputs"]), Scale.read(known["scale"])
            self.spread, self.voices = np.array(known["spread"]), dict(known["voices"])
        self.shape = Shape(outputs=config.frames.bands + 2, features=self.inputs.size, lasting=True)
        self._order = lru_cache(maxsize=2)(self._ordered)

    @property
    def facts(self) -> Mapping[str, object]:
        plain = {"inputs": self.inputs.plain(), "scale": self.scale.plain(), "spread": self.spread.tolist()}
        return {**plain, "voices": self.voices}  # the languages of each speaker

    def describe(self) -> list[str]:
        learned = f"{len(self.inputs.vocabulary) - 1} phones of {', '.join(self.inputs.languages)}"
        return [*(f"skipped: {why}" for why in self.corpus.skipped), f"{self.corpus.describe()}; {learned}"]

    def batch(self, step: int) -> Batch:
        each = -(-len(self.corpus.train) // self._size)
        return self.joined([self.corpus.train[i] for i in self._order(step // each)[step % each]])

    def validation(self) -> Iterator[Batch]:
        held = sorted(self.corpus.validation, key=lambda r: r.count)
        for first in range(0, len(held), self._size):
            yield self.joined(held[first : first + self._size])

    def joined(self, some: Sequence[Recording]) -> Batch:
        """Recordings as one batch."""
        inputs = [self.inputs(r.aligned.tokens, r.aligned.language, r.speaker) for r in some]
        lengths = torch.tensor([len(tokens) for tokens in inputs])
        frames = torch.tensor([r.count for r in some])
        return Batch(
            _padded(inputs),
            _padded([self.scale.normalised(r.frames()) for r in some]),
            torch.arange(int(frames.max())) < frames[:, None],
            lengths,
            durations=_padded([r.durations for r in some]),
        )

    def cost(self, outputs: Said, batch: Batch) -> Tensor:
        """Of every counted frame: the mel bands' mean squared and absolute errors, log F0's squared error where it is
        voiced, voicing's cross entropy; then of every token, its log duration's squared error.
        """
        assert batch.lengths is not None and batch.durations is not None
        longest = outputs.frames.shape[1]  # of this worker's rows
        counted = batch.counted[:, :longest]
        said, wanted = outputs.frames[counted].float(), batch.targets[:, :longest][counted]
        errors, voiced = said - wanted, wanted[:, -1]
        mel, log_f0 = errors[:, :-2], errors[:, -2]
        voicing = functional.binary_cross_entropy_with_logits(said[:, -1], voiced, reduction="none")
        frames = (mel**2 + mel.abs()).mean(1) + voiced * log_f0**2 + voicing
        tokens = torch.arange(batch.durations.shape[1], device=counted.device) < batch.lengths[:, None]
        late = (outputs.log_durations.float() - torch.log1p(batch.durations.float()))[tokens]
        return torch.cat([frames, DURATION_WEIGHT * late**2])

    def _ordered(self, epoch: int) -> list[list[int]]:
        """The recordings of each batch of an epoch: all once, but for some that fill the last batch."""
        rng, count = np.random.default_rng((self._seed, epoch)), len(self.corpus.train)
        drawn = np.resize(rng.permutation(count), -(-count // self._size) * self._size)
        group, batches = self._size * SORTED_BATCHES, list[list[int]]()
        for first in range(0, len(drawn), group):
            some = sorted(drawn[first : first + group].tolist(), key=lambda i: self.corpus.train[i].count)
            batches += [some[i : i + self._size] for i in range(0, len(some), self._size)]
        return [batches[i] for i in rng.permutation(len(batches))]


def spoken_spread(recordings: Sequence[Recording], scale: Scale) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Standard deviation [bands + 1] of scaled mel and log F0 over the frames of phones; log F0 over voiced ones."""
    count, total, square = (np.zeros(len(scale.mean)) for _ in range(3))
    for recording in recordings:
        boundaries = np.array([token.boundary for token in recording.aligned.tokens])
        frames = scale.normalised(recording.frames())[~np.repeat(boundaries, recording.durations)].astype(np.float64)
        some = np.ones((len(frames), len(count)))
        some[:, -1] = frames[:, -1]
        count, total = count + some.sum(0), total + (frames[:, :-1] * some).sum(0)
        square = square + (frames[:, :-1] ** 2 * some).sum(0)
    mean, square = total / np.maximum(count, 1), square / np.maximum(count, 1)
    return np.sqrt(np.maximum(square - mean**2, 0))


def _padded(arrays: Sequence[Floats] | Sequence[np.ndarray[Any, np.dtype[np.int64]]]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.from_numpy(array) for array in arrays], batch_first=True)
