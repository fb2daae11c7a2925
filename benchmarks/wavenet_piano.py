"""Whether a run trained on piano makes notes: python -m benchmarks.wavenet_piano RUN results/wavenet/piano

Pitch salience: how much of the power between 80 Hz and 2 kHz lies within a third of a semitone around the twelve tones
of the scale (in tune to 440 Hz), of what lies within those thirds and the ones between. Even noise has a half; the
network's is set beside held-out recordings, noise with the same long-term spectrum, and the network before it learned.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import torch

from benchmarks.machine import write
from cluster.runs import open_run
from wavenet import checkpoint
from wavenet.config import load_run_config
from wavenet.corpus import load_corpus
from wavenet.generate import Generator, sound
from wavenet.model import WaveNet
from wavenet.plots import save, spectrogram
from wavenet.sound import write as write_sound

SECONDS, STREAMS, TEMPERATURE, BINS = 10.0, 4, 0.95, 36  # bins an octave: three a semitone
LOWEST = librosa.note_to_hz("E2")
OCTAVES = 4.5


def salience(heard: np.ndarray[Any, np.dtype[np.float32]], rate: int) -> float:
    """Part of the power on the scale's tones, of all on them and half-way between them; noise has 0.5."""
    bins = int(BINS * OCTAVES)
    power = np.abs(librosa.cqt(heard, sr=rate, fmin=LOWEST, n_bins=bins, bins_per_octave=BINS, tuning=0.0)) ** 2
    thirds = power.sum(axis=1)[: bins // 3 * 3].reshape(-1, 3).sum(axis=0)
    return float(thirds[0] / (thirds[0] + (thirds[1] + thirds[2]) / 2))


def noise_like(heard: np.ndarray[Any, np.dtype[np.float32]], rng: np.random.Generator) -> Any:
    """Noise whose spectrum is, over long, that of the sound, smoothed so that no single tone is left."""
    spectrum = np.abs(np.fft.rfft(heard)) ** 2
    width = len(spectrum) // 200
    smooth = np.sqrt(np.convolve(spectrum, np.ones(width) / width, mode="same"))
    phases = rng.uniform(0, 2 * np.pi, len(smooth))
    return np.fft.irfft(smooth * np.exp(1j * phases), len(heard)).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    run, folder = open_run(arguments.run), arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    config = load_run_config(run)
    corpus, model, rate = load_corpus(config.data), checkpoint.load_model(run), config.data.sample_rate
    samples = int(SECONDS * rate)
    held = [r.sound[:samples] for r in corpus.validation if len(r.samples) >= samples][:8]
    torch.manual_seed(0)
    untrained = WaveNet(model.config).eval()
    made = {name: _made(network, samples) for name, network in (("network", model), ("untrained", untrained))}
    rng = np.random.default_rng(0)
    found = {
        "held-out recordings": [salience(x, rate) for x in held],
        "network": [salience(x, rate) for x in made["network"]],
        "noise with the recordings' spectrum": [salience(noise_like(x, rng), rate) for x in held],
        "network before it learned": [salience(x, rate) for x in made["untrained"]],
    }
    means = {name: float(np.mean(values)) for name, values in found.items()}
    write(folder / "salience.json", {"pitch salience, mean": means, "each": found})
    for name, value in means.items():
        print(f"{name:<40} {value:.3f}")
    best = made["network"][int(np.argmax(found["network"]))]
    write_sound(folder / "made.flac", best, rate)
    save(spectrogram(best, rate), folder / "made.png")
    save(spectrogram(held[0], rate), folder / "recorded.png")


def _made(model: WaveNet, samples: int) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    generator = Generator(model, STREAMS, "bfloat16", 1, TEMPERATURE)
    heard = sound(generator.run(samples), model.config.output)
    return [heard[:, i] for i in range(STREAMS)]


if __name__ == "__main__":
    main()
