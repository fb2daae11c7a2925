"""The local condition of a recording, frame by frame: its phones, its notes, or the frames of its sound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainkit.compiled_sound import librosa
from trainkit.speech.frames import Frames
from trainkit.speech.phones import PhoneFeatures, Timeline
from wavenet.config import WaveNetConfig
from wavenet.corpus import Recording
from wavenet.notes import FEATURES, Score, note_frames

Floats = npt.NDArray[np.float32]
QUIETEST = 1e-3  # of a mel band's magnitude: all that is below is silence
MOST_MEASURED, MOST_FRAMES = 500, 3_000  # recordings whose frames say what is usual, and frames of each
NARROWEST = 0.1  # standard deviation that a feature is divided by


@dataclass(frozen=True)
class Features:
    """Frames of a recording at their own rate."""

    size: int  # numbers in a frame
    frames: Callable[[Recording, int, int], Floats]

    def __call__(self, recording: Recording, first: int, count: int) -> Floats:
        """Frames first .. first + count - 1 as [count, size]; `first` may be before the beginning."""
        return self.frames(recording, first, count)


def features(config: WaveNetConfig, phones: Sequence[str], said: bool = False) -> Features | None:
    """Those of a run, whose vocabulary is `phones`; None without a local condition.

    `said`: by the frames that an acoustic model says of a recording, not by those of its sound.
    """
    frame_s = config.model.frame_samples / config.data.sample_rate

    def frames(recording: Recording) -> Frames:
        return cast(Frames, recording.said_frames if said else recording.frames)

    match config.data.conditions:
        case "phones":
            return of_phones(PhoneFeatures(phones, frame_s))
        case "phones+f0":
            of_line = PhoneFeatures(phones, frame_s)

            def phones_and_pitch(r: Recording, first: int, count: int) -> Floats:
                some = frames(r).cut(first, count)
                return np.column_stack([of_line(cast(Timeline, r.phones), first, count), some.log_f0, some.voiced])

            return Features(of_line.size + 2, phones_and_pitch)
        case "frames":

            def all_columns(r: Recording, first: int, count: int) -> Floats:
                some = frames(r).cut(first, count)
                return np.column_stack([some.mel, some.log_f0, some.voiced])

            return Features(config.data.frames.bands + 2, all_columns)
        case "notes":
            return Features(FEATURES, lambda r, first, count: note_frames(cast(Score, r.score), first, count, frame_s))
        case "mel":
            mels = config.data.mels
            return Features(mels, MelFrames(mels, config.model.frame_samples, config.data.sample_rate))
        case "none":
            return None


def of_phones(phones: PhoneFeatures) -> Features:
    """The frames of a recording's phones."""
    return Features(phones.size, lambda r, first, count: phones(cast(Timeline, r.phones), first, count))


def mean_and_scale(frames_of: Features, recordings: Sequence[Recording], frame_samples: int) -> tuple[Tensor, Tensor]:
    """Of each feature, both [size]: over the beginnings of at most MOST_MEASURED recordings, spread evenly over all.

    The scale is the standard deviation, but no less than NARROWEST: what hardly varies, such as the column of a rare
    phone, is not blown up.
    """
    count, total, squares = 0, np.zeros(frames_of.size), np.zeros(frames_of.size)
    for recording in recordings[:: -(-len(recordings) // MOST_MEASURED)]:
        length = min(-(-len(recording.samples) // frame_samples), MOST_FRAMES)
        frames = frames_of(recording, 0, length).astype(np.float64)
        count, total, squares = count + length, total + frames.sum(0), squares + (frames**2).sum(0)
    mean = total / count
    scale = np.sqrt(np.maximum(squares / count - mean**2, NARROWEST**2))
    return torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(scale.astype(np.float32))


class MelFrames:
    """Logarithms of the mel spectrum, one frame around the middle of every `frame_samples` samples.

    Scaled so that silence is -1 and full scale is near 1. Frames look ahead by half a window: a vocoder is given its
    spectrum before it speaks.
    """

    def __init__(self, mels: int, frame_samples: int, rate: int) -> None:
        self._frame = frame_samples
        self._window = 1 << (4 * frame_samples - 1).bit_length()  # at least four frames, so that bands are apart
        self._bands = librosa.filters.mel(sr=rate, n_fft=self._window, n_mels=mels)

    def __call__(self, recording: Recording, first: int, count: int) -> Floats:
        margin = (self._window - self._frame) // 2
        start, end = first * self._frame - margin, (first + count) * self._frame + margin
        samples = recording.samples
        window = samples[max(start, 0) : max(end, 0)].astype(np.float32) / np.float32(32_768)
        before = min(max(-start, 0), end - start)
        window = np.pad(window, (before, end - start - before - len(window)))
        spectrum = np.abs(librosa.stft(window, n_fft=self._window, hop_length=self._frame, center=False))
        bands = self._bands @ spectrum[:, :count]
        frames: Floats = (np.log10(np.maximum(bands, QUIETEST)) / 1.5 + 1).T.astype(np.float32)
        return frames
