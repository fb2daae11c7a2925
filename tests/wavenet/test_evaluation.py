"""What a network is compared with, and how far one sound is from another."""

import re

import librosa
import numpy as np
import pytest
import soundfile

from tests.wavenet.runs import trained
from trainkit.errors import UserError
from trainkit.speech.cepstra import distance, mel_cepstra
from wavenet.cli import main
from wavenet.corpus import Recording
from wavenet.evaluation import Evaluated, compare, mean_bits, of_others
from wavenet.features import MelFrames

RATE = 16_000


def vowel(hz, formants, seconds=0.5):
    """Harmonics of `hz` below peaks at `formants`."""
    t = np.arange(int(seconds * RATE)) / RATE
    harmonics = np.arange(hz, 4_000, hz)
    loud = sum(np.exp(-(((harmonics - f) / 150) ** 2)) for f in formants)
    return (0.1 * (loud[:, None] * np.sin(2 * np.pi * harmonics[:, None] * t)).sum(0)).astype(np.float32)


def test_cepstra_are_the_cosine_transform_of_the_logarithmic_mel_spectrum():
    sound = vowel(120, (700, 1200))
    power = librosa.feature.melspectrogram(y=sound, sr=RATE, n_fft=512, hop_length=160, n_mels=40, power=1.0)
    # librosa's orthonormal transform is sqrt(2 * bands) times ours.
    expected = librosa.feature.mfcc(S=np.log(np.maximum(power, 1e-3)), n_mfcc=14)[1:].T / np.sqrt(80)
    np.testing.assert_allclose(mel_cepstra(sound, RATE), expected, atol=1e-5)


def test_distance_is_by_the_spectrum_and_not_by_the_timing():
    a, e = vowel(120, (700, 1200)), vowel(120, (400, 2000))
    slow = np.concatenate([vowel(120, (700, 1200), 0.9), e])
    assert distance(a, a, RATE) == pytest.approx(0, abs=1e-6)
    assert distance(np.concatenate([a, e]), slow, RATE) < 0.3 * distance(a, e, RATE)
    assert distance(a, vowel(150, (700, 1200)), RATE) < distance(a, e, RATE), (
        "another pitch is nearer than another vowel"
    )


def test_distance_by_hand():
    """A constant filter moves each coefficient by the same amount in every frame."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.2, RATE).astype(np.float32)
    filtered = librosa.effects.preemphasis(noise, coef=0.9)
    moved = (mel_cepstra(filtered, RATE) - mel_cepstra(noise, RATE)).mean(0)
    by_hand = 10 / np.log(10) * np.sqrt(2 * (moved**2).sum())
    assert distance(noise, filtered, RATE) == pytest.approx(by_hand, rel=0.15)


def test_mel_frames_of_any_window_are_those_of_the_whole():
    sound = (np.random.default_rng(0).normal(0, 3_000, 4_000)).astype(np.int16)
    made, recording = MelFrames(20, 160, RATE), Recording("a", sound)
    whole = made(recording, -3, 34)
    assert whole.shape == (34, 20) and whole.dtype == np.float32
    for first in (-3, 0, 7, 24):
        np.testing.assert_allclose(made(recording, first, 5), whole[first + 3 : first + 8], atol=1e-5)
    assert made(Recording("b", np.zeros(1_000, np.int16)), 0, 3) == pytest.approx(-1)
    # Frame 2 is the spectrum of 1,024 samples around the middle of samples 320 to 479.
    window = np.pad(sound, 512)[400:1424].astype(np.float32) / 32_768 * np.hanning(1_025)[:-1]
    bands = librosa.filters.mel(sr=RATE, n_fft=1024, n_mels=20) @ np.abs(np.fft.rfft(window))
    np.testing.assert_allclose(whole[5], np.log10(bands) / 1.5 + 1, atol=1e-3)


def test_a_comparison_by_hand():
    one = Evaluated({}, {"a": (10.0, 10), "b": (60.0, 20)})
    other = Evaluated({}, {"a": (15.0, 10), "b": (58.0, 20)})
    assert mean_bits(one.by_file) == pytest.approx(70 / 30)
    found = compare(one, other)
    assert found["the other run"] == pytest.approx(73 / 30)
    assert found["more than this one, mean of files"] == pytest.approx((0.5 - 0.1) / 2)
    assert found["its standard error"] == pytest.approx(0.3)
    assert found["part of files with more"] == 0.5
    with pytest.raises(UserError, match=r"model\.output=softmax, one logistics"):
        compare(one, Evaluated({}, one.by_file, "logistics"))
    with pytest.raises(UserError, match="same files"):
        compare(one, Evaluated({}, {"a": (15.0, 10)}))


def test_others_are_the_next_recordings():
    recordings = [Recording(n, np.full(160, i, np.int16)) for i, n in enumerate("abc")]

    class Loudness:
        size = 1

        def __call__(self, recording, first, count):
            return np.full((count, 1), recording.samples[0], np.float32)

    others = of_others(Loudness(), recordings)
    assert [others(r, 0, 1)[0, 0] for r in recordings] == [1, 2, 0]


def test_a_vocoder_from_sound_to_sound(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("APEX_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(2)
    for i in range(6):
        loud = np.repeat(rng.permutation([0.3, 0.3, 0.3, 0.02, 0.02, 0.02]), RATE // 20)
        soundfile.write(f"{i}.wav", rng.normal(0, loud).clip(-0.9, 0.9), RATE)
    settings = (
        "data.folder=.", "data.conditions=mel", "data.mels=20", "model.cycles=1", "model.layers_per_cycle=4",
        "model.residual=16", "model.skip=16", "model.head=16", "model.local_channels=16", "training.batch=2",
        "training.segment_samples=1600", "training.steps=150", "training.ema=0.9",
        "training.learning_rate=1.0e-2", "training.warmup_steps=10", "data.validation_fraction=0.6", "runs_dir=runs",
    )  # fmt: skip
    run = trained("small", *settings)
    monkeypatch.setattr("trainkit.training_log.FILE_S", 0.0)  # progress as often as there is some
    assert main(["evaluate", str(run), "--distances", "2", "--against", str(run)]) == 0
    told, progress = capsys.readouterr()
    assert re.search(r"^\d\d:\d\d:\d\d held-out sound: 100% of \d s heard$", progress, re.MULTILINE)
    for step in ("reading the sound", "int8 weights: 1 of", "simpler models", "1 of 2 files said again"):
        assert step in progress
    bits = {line[:40].strip(): float(line[40:].split()[0]) for line in told.splitlines()}
    assert bits["WaveNet"] < bits["with the mel of another file"] - 0.03, "frames say when noise is loud"
    assert bits["more than this one, mean of files"] == 0 and bits["to the same sentence's recording"] > 0
    assert main(["generate", str(run), "--like", "0.wav", "--out", "again.wav"]) == 0
    assert soundfile.info("again.wav").frames == pytest.approx(4_800, abs=600)
    assert main(["generate", str(run)]) == 2 and "--like FILE" in capsys.readouterr().err
    assert main(["generate", str(run), "--like", "0.wav", "--prime", "1.wav"]) == 2
    assert "nothing says the mel of it" in capsys.readouterr().err
