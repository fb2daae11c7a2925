"""Frames as sound without any network: the baseline that a vocoder is to beat (Griffin & Lim 1984)."""

from __future__ import annotations

import numpy as np

from trainkit.compiled_sound import librosa
from trainkit.speech.frames import Floats, Frames, mel_bands

ITERATIONS = 60


def griffin_lim(frames: Frames, iterations: int = ITERATIONS, seed: int = 0) -> Floats:
    """Samples [T * hop] in [-1, 1] whose mel spectrum is near that of the frames; their F0 and voicing are not used."""
    s = frames.settings
    whole = frames.cut(-1, len(frames) + 2)  # a frame more at each end: librosa's are around samples 0, hop, 2 hop ..
    magnitudes = np.exp(whole.mel) if s.log_base == "e" else 10.0**whole.mel
    magnitudes[whole.mel <= s.quietest] = 0
    spectrum = librosa.util.nnls(mel_bands(s), magnitudes.T)
    sound = librosa.griffinlim(
        spectrum, n_iter=iterations, hop_length=s.hop_samples, win_length=s.window_samples, n_fft=s.window_samples,
        random_state=seed,
    )  # fmt: skip
    begin = s.hop_samples - s.hop_samples // 2
    samples: Floats = np.clip(sound[begin : begin + frames.samples], -1, 1).astype(np.float32)
    return samples
