"""Windows cut out of recordings: each predicted sample has all the past that the network can see before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainkit.mu_law import SILENCE, encode
from wavenet.config import ModelConfig
from wavenet.corpus import Recording
from wavenet.features import Features

EVERY = slice(None)


@dataclass(frozen=True)
class Crops:
    """A batch. The first `context` samples are heard only; `counted` says which of the rest are real."""

    samples: Tensor  # [B, context + segment], int64 codes or float32 numbers
    counted: Tensor  # [B, segment] bool
    speakers: Tensor  # [B] int64
    frames: Tensor | None = None  # [B, frames of all samples and reach_frames more, local_features], if conditioned

    @property
    def context(self) -> int:
        return self.samples.shape[1] - self.counted.shape[1]

    def rows(self, some: slice) -> Crops:
        """Part of the batch."""
        frames = None if self.frames is None else self.frames[some]
        return Crops(self.samples[some], self.counted[some], self.speakers[some], frames)

    def to(self, device: torch.device) -> Crops:
        frames = None if self.frames is None else self.frames.to(device)
        return Crops(self.samples.to(device), self.counted.to(device), self.speakers.to(device), frames)


class Cropper:
    """Cuts for one model."""

    def __init__(self, model: ModelConfig, segment: int, features: Features | None = None) -> None:
        """With `features`, crops begin and end where frames do; `segment` is then a whole number of frames."""
        self._classes = model.output == "softmax"
        self._features = features
        self._frame, self._reach = model.frame_samples if features else 1, model.reach_frames
        # What the first sample that is heard is told of lies up to `reach_frames` before it.
        frames = model.context_frames + model.reach_frames
        self._context = frames * self._frame if features else model.receptive_field
        self._segment = segment

    def random(self, recordings: Sequence[Recording], size: int, rng: np.random.Generator) -> Crops:
        """`size` crops, every sample as likely as every other to be in one."""
        # A crop may begin before its recording and end after it, or the first and the last samples would be seen less;
        # and all such places are equally likely, or those of short recordings would.
        f = self._frame
        before = (self._segment - 1) // f
        places = np.array([before + -(-len(r.samples) // f) for r in recordings])
        chosen = rng.choice(len(recordings), size, p=places / places.sum())
        starts = [f * (int(rng.integers(places[i])) - before) for i in chosen]
        return self._batch([(recordings[i], s) for i, s in zip(chosen, starts, strict=True)])

    def all(
        self, recordings: Sequence[Recording], size: int, most: int | None = None, share: slice = EVERY
    ) -> Iterator[Crops]:
        """Batches in which every sample is counted once: those of `share`, cut as they are asked for.

        At most `most` batches in all, of crops spread evenly over the recordings.
        """
        places = [(r, s) for r in recordings for s in range(0, len(r.samples), self._segment)]
        if most is not None and most * size < len(places):
            places = [places[i * len(places) // (most * size)] for i in range(most * size)]
        for batch in [places[i : i + size] for i in range(0, len(places), size)][share]:
            yield self._batch(batch)

    def _batch(self, places: Sequence[tuple[Recording, int]]) -> Crops:
        cut = [self._cut(recording, start) for recording, start in places]
        samples = np.stack([window for window, _ in cut])
        counted = np.stack([real for _, real in cut])
        speakers = torch.tensor([recording.speaker for recording, _ in places])
        frames = None
        if self._features is not None:
            first, count = -self._context // self._frame, (self._context + self._segment) // self._frame + self._reach
            cut_frames = [self._features(r, s // self._frame + first, count) for r, s in places]
            frames = torch.from_numpy(np.stack(cut_frames))
        return Crops(torch.from_numpy(samples), torch.from_numpy(counted), speakers, frames)

    def _cut(self, recording: Recording, start: int) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]:
        first, last = start - self._context, start + self._segment
        length = len(recording.samples)
        sound = recording.samples[max(first, 0) : last].astype(np.float32) / np.float32(32_768)
        known: npt.NDArray[np.generic] = encode(sound).astype(np.int64) if self._classes else sound
        silence = SILENCE if self._classes else 0
        window = np.pad(known, (max(-first, 0), max(last - length, 0)), constant_values=silence)
        places = np.arange(start, last)
        return window, (places >= 0) & (places < length)
