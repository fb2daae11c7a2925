"""Frames as numbers around 0, as networks take and give them: by the mean and the spread of a corpus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainkit.speech.frame_settings import FrameSettings
from trainkit.speech.frames import Floats, Frames

UNVOICED = 1e-12  # what log F0 weighs where it is not voiced: next to nothing, unless it is voiced nowhere
NARROWEST = 1e-2  # spread of a band or of log F0: what hardly varies is not blown up


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of each mel band over all frames, and of log F0 over those that are voiced."""

    mean: npt.NDArray[np.float64]  # [bands + 1], log F0 last
    spread: npt.NDArray[np.float64]  # [bands + 1]

    @classmethod
    def of(cls, corpus: Iterable[Frames]) -> Scale:
        """Of at least one recording. Without a voiced frame, log F0 counts everywhere."""
        count, total, square = 0.0, 0.0, 0.0  # arrays of sums, in the end
        for f in corpus:
            some = np.ones((len(f), f.mel.shape[1] + 1))
            some[:, -1] = np.maximum(f.voiced, UNVOICED)
            numbers = np.column_stack([f.mel, f.log_f0]).astype(np.float64)
            count, total = count + some.sum(0), total + (some * numbers).sum(0)
            square = square + (some * numbers**2).sum(0)
        mean = np.asarray(total / count)
        return cls(mean, np.maximum(np.sqrt(np.maximum(square / count - mean**2, 0)), NARROWEST))

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Scale:
        """From what `plain` gave."""
        return cls(np.array(plain["mean"], np.float64), np.array(plain["spread"], np.float64))

    def plain(self) -> dict[str, list[float]]:
        """As values for JSON."""
        return {"mean": self.mean.tolist(), "spread": self.spread.tolist()}

    def normalised(self, frames: Frames) -> Floats:
        """[T, bands + 2]: mel and log F0 less their mean over their spread, then 1 where voiced."""
        numbers = (np.column_stack([frames.mel, frames.log_f0]) - self.mean) / self.spread
        return np.column_stack([numbers, frames.voiced]).astype(np.float32)

    def restored(self, numbers: Floats, settings: FrameSettings) -> Frames:
        """The frames of [T, bands + 2]; voiced where the last number is above a half, no band below silence."""
        values = numbers[:, :-1] * self.spread + self.mean
        mel = np.maximum(values[:, :-1], settings.quietest).astype(np.float32)
        return Frames(settings, mel, values[:, -1].astype(np.float32), numbers[:, -1] > 0.5)
