"""Whether a run trained on tunes of one voice plays notes: python -m benchmarks.wavenet_piano RUN results/wavenet/piano

Beside held-out recordings, noise with the same long-term spectrum, and the network before it learned:
- pitch salience: how much of the power between 80 Hz and 2 kHz lies within a third of a semitone around the twelve
  tones of the scale (in tune to 440 Hz), of what lies within those thirds and the ones between; even noise has a half;
- notes that a transcriber finds, how many a second, how long, and whether they lie in one key. The transcriber itself
  is held against the scores of the held-out recordings.

A network of notes (data.conditions=notes) is told the scores of the held-out recordings, and what is heard of it is
held against them too.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure

from benchmarks.machine import write
from benchmarks.notes_heard import Note, in_one_key, notes_heard, precision_and_recall
from trainkit.compiled_sound import librosa
from trainkit.runs import open_run
from trainkit.sound import write as write_sound
from wavenet import checkpoint
from wavenet.corpus import Recording, load_corpus
from wavenet.features import Features, features
from wavenet.generate import Generator, resynthesise, sound
from wavenet.model import WaveNet
from wavenet.plots import spectrogram

SECONDS, STREAMS, TEMPERATURE, BINS = 20.0, 4, 0.95, 36  # bins an octave: three a semitone
LOWEST = librosa.note_to_hz("E2")
OCTAVES = 4.5
Floats = npt.NDArray[np.float32]


def salience(heard: Floats, rate: int) -> float:
    """Part of the power on the scale's tones, of all on them and half-way between them; noise has 0.5."""
    bins = int(BINS * OCTAVES)
    power = np.abs(librosa.cqt(heard, sr=rate, fmin=LOWEST, n_bins=bins, bins_per_octave=BINS, tuning=0.0)) ** 2
    thirds = power.sum(axis=1)[: bins // 3 * 3].reshape(-1, 3).sum(axis=0)
    return float(thirds[0] / (thirds[0] + (thirds[1] + thirds[2]) / 2))


def noise_like(heard: Floats, rate: int, rng: np.random.Generator) -> Floats:
    """Noise whose spectrum is, over long, that of the sound, smoothed over 200 Hz so that no single tone is left."""
    spectrum = np.abs(np.fft.rfft(heard)) ** 2
    width = 200 * len(heard) // rate
    smooth = np.sqrt(np.convolve(spectrum, np.ones(width) / width, mode="same"))
    phases = rng.uniform(0, 2 * np.pi, len(smooth))
    return np.fft.irfft(smooth * np.exp(1j * phases), len(heard)).astype(np.float32)


def described(heard: Floats, notes: list[Note], rate: int) -> dict[str, float]:
    """The figures of one piece of sound."""
    return {
        "salience": salience(heard, rate),
        "loudness, rms": float(np.sqrt(np.mean(heard**2))),
        "notes a second": len(notes) / (len(heard) / rate),
        "median length of a note, s": float(np.median([n.end - n.start for n in notes])) if notes else 0.0,
        "different pitches": len({n.pitch for n in notes}),
        "part of the notes in one key": in_one_key(notes),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    run, folder = open_run(arguments.run), arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    config, model = checkpoint.load_model(run)
    corpus, rate = load_corpus(config.data), config.data.sample_rate
    made = features(config, [])
    samples = int(SECONDS * rate)
    torch.manual_seed(0)
    untrained = WaveNet(model.config).eval()
    recordings = [r for r in corpus.validation if len(r.samples) >= samples][:8]
    held = [r.sound[:samples] for r in recordings]
    scores = [_score(Path(config.data.folder).expanduser() / r.name) for r in recordings]
    rng = np.random.default_rng(0)
    sounds = {
        "held-out recordings": held,
        "network": _made(model, made, recordings, samples),
        "noise with the recordings' spectrum": [noise_like(x, rate, rng) for x in held],
        "network before it learned": _made(untrained, made, recordings, samples),
    }
    notes = {name: [notes_heard(x, rate) for x in some] for name, some in sounds.items()}
    found = {
        name: [described(x, n, rate) for x, n in zip(some, notes[name], strict=True)] for name, some in sounds.items()
    }
    means = {name: {key: float(np.mean([f[key] for f in some])) for key in some[0]} for name, some in found.items()}
    played = ["held-out recordings"] if made is None else list(sounds)
    against = {name: dict(zip(("precision", "recall"), _against(notes[name], scores), strict=True)) for name in played}
    figures = {"mean": means, "notes heard against the score": against}
    write(folder / "notes.json", {**figures, "each": found})
    print(json.dumps(figures, indent=1))
    best = int(np.argmax([f["salience"] for f in found["network"]]))
    write_sound(folder / "made.flac", sounds["network"][best], rate)
    spectrogram(sounds["network"][best], rate).savefig(folder / "made.png", dpi=110)
    of = best if made is not None else 0
    spectrogram(held[of], rate).savefig(folder / "recorded.png", dpi=110)
    _roll(notes["held-out recordings"][of], notes["network"][best], folder / "notes.png")


def _against(heard: list[list[Note]], scores: list[list[Note]]) -> tuple[float, float]:
    both = [precision_and_recall(n, score) for n, score in zip(heard, scores, strict=True)]
    return float(np.mean([p for p, _ in both])), float(np.mean([r for _, r in both]))


def _made(model: WaveNet, made: Features | None, recordings: list[Recording], samples: int) -> list[Floats]:
    if made is not None:
        return [resynthesise(model, made, r, samples, seed=1, temperature=TEMPERATURE) for r in recordings]
    generator = Generator(model, STREAMS, "bfloat16", 1, TEMPERATURE)
    generator.hear_silence()
    heard = sound(generator.run(samples), model.config.output)
    return [heard[:, i] for i in range(STREAMS)]


def _score(recording: Path) -> list[Note]:
    held: Any = json.loads(recording.with_suffix(".json").read_text())
    return [Note(start, end, pitch) for start, end, pitch, _ in held["notes"] if start < SECONDS]


def _roll(recorded: list[Note], made: list[Note], path: Path) -> None:
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots(2, 1, sharex=True, sharey=True)
    for ax, notes, title in zip(axes, (recorded, made), ("a held-out recording", "the network"), strict=True):
        for n in notes:
            ax.plot((n.start, n.end), (n.pitch, n.pitch), linewidth=4, solid_capstyle="butt", color="tab:blue")
        ax.set(title=f"Notes heard in {title}", ylabel="MIDI pitch", xlim=(0, SECONDS))
        ax.grid(alpha=0.3)
    axes[1].set(xlabel="s")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
