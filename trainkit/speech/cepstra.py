"""How far one utterance is from another, whatever their timing: mel-cepstral distance along the best alignment."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trainkit.compiled_sound import librosa

Floats = npt.NDArray[np.floating]
BANDS, ORDER = 40, 13  # of the mel spectrum; cepstral coefficients that are compared, the loudness (0) not among them
WINDOW_S, HOP_S = 0.032, 0.01
QUIETEST = 1e-3  # of a band's magnitude
TO_DB = np.sqrt(2) * 10 / np.log(10)


def mel_cepstra(sound: Floats, rate: int) -> npt.NDArray[np.float64]:
    """Coefficients 1 to ORDER of samples' [N] logarithmic mel spectrum, one frame every 10 ms: [frames, ORDER]."""
    window = int(WINDOW_S * rate)
    spectrum = librosa.feature.melspectrogram(
        y=np.asarray(sound, np.float32), sr=rate, n_fft=window, hop_length=int(HOP_S * rate), n_mels=BANDS, power=1.0
    )
    return cepstra(np.log(np.maximum(spectrum, QUIETEST)).T)


def cepstra(logs: Floats) -> npt.NDArray[np.float64]:
    """Coefficients 1 to ORDER of natural logarithms of mel bands' magnitudes [T, bands]: [T, ORDER]."""
    bands = logs.shape[1]
    waves = np.cos(np.pi * np.arange(1, ORDER + 1)[:, None] * (np.arange(bands) + 0.5) / bands) / bands
    found: npt.NDArray[np.float64] = logs.astype(np.float64) @ waves.T
    return found


def decibels(differences: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mel-cepstral distance [T] of differences of coefficients [T, ORDER].

    10 / ln 10 * sqrt(2 sum of (c_d - c'_d)^2) (Kubichek 1993, "Mel-cepstral distance measure for objective speech
    quality assessment").
    """
    found: npt.NDArray[np.float64] = TO_DB * np.sqrt((differences**2).sum(-1))
    return found


def distance(one: Floats, other: Floats, rate: int) -> float:
    """Mel-cepstral distance in dB, the mean along the path of dynamic time warping."""
    a, b = mel_cepstra(one, rate), mel_cepstra(other, rate)
    costs, path = librosa.sequence.dtw(a.T, b.T)  # Euclidean, added up along the path
    return float(costs[-1, -1] / len(path) * TO_DB)
