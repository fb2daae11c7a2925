"""How good sounds of known texts are, as a listener would have it: words, sentences, distance, melody, mishaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.recogniser import Recogniser, accuracy, recognised, words
from trainkit.speech.cepstra import distance
from trainkit.speech.frame_settings import FrameSettings
from trainkit.speech.frames import analyse

Sound = npt.NDArray[np.float32]
FULL = 0.999  # of full scale: samples there are clipped
MOST_CLIPPED = 1e-3  # of a sound's samples
QUIET = 1e-2  # root mean square, of full scale, below which a sound is silent


class Judge:
    """Of sounds at one rate, each of one of `texts`, in their order."""

    def __init__(self, texts: Sequence[str], settings: FrameSettings, english: bool) -> None:
        """`english`: whether the recogniser knows the language."""
        self.settings, self._said = settings, [words(text) for text in texts]
        self._ears = {"words": Recogniser(), "closed": Recogniser(self._said)} if english else {}

    def __call__(
        self, sounds: Sequence[Sound], references: Sequence[Sound] | None = None, at_their_times: bool = False
    ) -> dict[str, float]:
        """Figures by name.

        `references` are sounds of the same texts. `at_their_times`: with the same sentence at the same moments, so that
        F0 can be compared frame by frame.
        """
        rate = self.settings.sample_rate
        found: dict[str, float] = {"sounds": len(sounds)}
        heard = {
            name: [(said, hears(sound, rate)) for said, sound in zip(self._said, sounds, strict=True)]
            for name, hears in self._ears.items()
        }
        if heard:
            found["words"] = accuracy(heard["words"])
            found["sentences, closed grammar"] = recognised(heard["closed"])
        if references is not None:
            others = [*references[1:], references[0]]
            found["mel-cepstral distance, dB"] = _mean_distance(sounds, references, rate)
            found["to another sentence, dB"] = _mean_distance(sounds, others, rate)
        if references is not None and at_their_times:
            found |= melody(sounds, references, self.settings)
        found["clipped"] = sum(float((np.abs(sound) > FULL).mean()) > MOST_CLIPPED for sound in sounds)
        found["silent"] = sum(float(np.sqrt((sound**2).mean())) < QUIET for sound in sounds)
        return found


def _mean_distance(sounds: Sequence[Sound], references: Sequence[Sound], rate: int) -> float:
    return float(np.mean([distance(a, b, rate) for a, b in zip(sounds, references, strict=True)]))


def melody(sounds: Sequence[Sound], references: Sequence[Sound], settings: FrameSettings) -> dict[str, float]:
    """Root mean square of F0's error where both are voiced, and the share of frames with wrong voicing."""
    cents, wrong = list[np.ndarray[Any, np.dtype[np.float64]]](), list[np.ndarray[Any, np.dtype[np.bool_]]]()
    for sound, reference in zip(sounds, references, strict=True):
        a, b = analyse(sound, settings), analyse(reference, settings)
        n = min(len(a), len(b))
        both = a.voiced[:n] & b.voiced[:n]
        cents.append(1_200 / np.log(2) * (a.log_f0[:n] - b.log_f0[:n])[both].astype(np.float64))
        wrong.append(a.voiced[:n] != b.voiced[:n])
    off = np.concatenate(cents)
    return {
        "F0, cents": float(np.sqrt((off**2).mean())) if len(off) else float("nan"),
        "voicing": float(np.concatenate(wrong).mean()),
    }
