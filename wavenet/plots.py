"""Pictures of sound."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trainkit.compiled_sound import librosa


def spectrogram(sound: np.ndarray[Any, np.dtype[np.float32]], rate: int) -> Figure:
    """Waveform above, mel spectrogram in dB below."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    wave, mel = figure.subplots(2, 1, height_ratios=[1, 2])
    seconds = len(sound) / rate
    wave.plot(np.arange(len(sound)) / rate, sound, linewidth=0.4)
    wave.set(xlim=(0, seconds), ylim=(-1, 1), ylabel="sample")
    power = librosa.feature.melspectrogram(
        y=np.asarray(sound, np.float32), sr=rate, n_fft=1024, hop_length=128, n_mels=80
    )
    shown = librosa.power_to_db(power, ref=np.max, top_db=80)
    edges = librosa.mel_frequencies(n_mels=81, fmax=rate / 2)
    picture = mel.pcolormesh(np.linspace(0, seconds, shown.shape[1] + 1), edges, shown, cmap="magma", rasterized=True)
    mel.set(xlabel="s", ylabel="Hz")
    mel.set_yscale("symlog", linthresh=1_000)  # straight up to 1 kHz, as the ear and the mel scale have it
    figure.colorbar(picture, ax=mel, label="dB")
    return figure
