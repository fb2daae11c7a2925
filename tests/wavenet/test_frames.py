"""Frames of sound, by hand, to crops, to the network and back: a vocoder, and phones with F0."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from tests.wavenet.runs import trained
from trainkit.errors import UserError
from trainkit.speech import frames as frames_file
from trainkit.speech.frame_settings import FrameSettings
from trainkit.speech.frames import Frames
from trainkit.speech.griffin_lim import griffin_lim
from trainkit.speech.phones import timeline
from wavenet import checkpoint
from wavenet.cli import main
from wavenet.config import PRESETS, DataConfig
from wavenet.corpus import Corpus, Recording, load_corpus
from wavenet.crops import Cropper
from wavenet.evaluation import bits_by_file, mean_bits, of_others
from wavenet.features import Features, features, mean_and_scale
from wavenet.generate import Generator, begin, conditions
from wavenet.given_frames import read_given, with_pitch
from wavenet.graphed import GraphedGenerator
from wavenet.train import croppers, new_model

RATE = 16_000
THREE = FrameSettings(bands=2, lowest_hz=100, highest_hz=4_000)
SAID = Frames(THREE, np.array([[1, 2], [3, 4], [5, 6]], np.float32), np.log([100, 110, 120]).astype(np.float32),
              np.array([False, True, True]))  # fmt: skip
LINE = timeline([(0.0, "a"), (0.015, "'b")], 0.03)
SMALL = (
    "model.cycles=1", "model.layers_per_cycle=4", "model.residual=16", "model.skip=16", "model.head=16",
    "model.local_channels=16", "training.batch=2", "training.segment_samples=1600", "data.frames.bands=20",
    "data.frames.window_samples=400",
)  # fmt: skip


def settings_of(conditions, *words):
    given = [f"data.conditions={conditions}", "data.folder=x", "data.frames.bands=2", "data.frames.lowest_hz=100",
             "data.frames.highest_hz=4000", *words]  # fmt: skip
    return PRESETS.load("vocoder", given).config


def test_frames_of_a_vocoder_by_hand():
    recording = Recording("a", np.zeros(480, np.int16), frames=SAID, said_frames=replace(SAID, mel=-SAID.mel))
    made = features(settings_of("frames"), [])
    silence = THREE.quietest
    by_hand = [
        [silence, silence, np.log(100), 0],  # before the beginning
        [1, 2, np.log(100), 0],
        [3, 4, np.log(110), 1],
        [5, 6, np.log(120), 1],
        [silence, silence, np.log(120), 0],  # after the end
    ]
    assert made.size == 4
    np.testing.assert_allclose(made(recording, -1, 5), by_hand, rtol=1e-6)
    said = features(settings_of("frames"), [], said=True)
    np.testing.assert_allclose(said(recording, 0, 3)[:, :2], [[-1, -2], [-3, -4], [-5, -6]])


def test_frames_of_phones_with_f0_by_hand():
    recording = Recording("a", np.zeros(480, np.int16), phones=LINE, frames=SAID)
    made = features(settings_of("phones+f0"), ["_", "a", "b"])
    a, b, none = [0, 1, 0], [0, 0, 1], [1, 0, 0]
    by_hand = [
        [*a, *b, 0, 1 / 3, np.log(0.015), np.log(100), 0],  # middle at 5 ms
        [*b, *none, 1, 0, np.log(0.015), np.log(110), 1],  # at 15 ms
        [*b, *none, 1, 2 / 3, np.log(0.015), np.log(120), 1],
    ]
    assert made.size == 11
    np.testing.assert_allclose(made(recording, 0, 3), by_hand, rtol=1e-5, atol=1e-6)


def test_mean_and_scale_by_hand():
    values = {"a": [[0, 1.0], [4, 1.0]], "b": [[8, 1.0]]}
    made = Features(2, lambda r, first, count: np.array(values[r.name], np.float32)[first : first + count])
    recordings = [Recording("a", np.zeros(20, np.int16)), Recording("b", np.zeros(10, np.int16))]
    mean, scale = mean_and_scale(made, recordings, 10)
    np.testing.assert_allclose(mean, [4, 1])
    # 0, 4 and 8 are 4 from their mean, but for the middle one; what never varies is not blown up.
    np.testing.assert_allclose(scale, [np.sqrt(32 / 3), 0.1], rtol=1e-6)


@pytest.fixture
def noise():
    """Two recordings of noise, one no whole number of frames long, with frames of their own."""
    rng = np.random.default_rng(0)

    def one(name, samples):
        mel = rng.normal(-4, 2, (-(-samples // 160), 2)).astype(np.float32)
        f0, voiced = rng.normal(5, 0.2, len(mel)).astype(np.float32), rng.random(len(mel)) < 0.5
        line = timeline([(0.0, "_"), (0.03, "a")], samples / RATE)
        sound = rng.normal(0, 2_000, samples).astype(np.int16)
        return Recording(name, sound, phones=line, frames=Frames(THREE, mel, f0, voiced))

    return [one("a", 2_000), one("b", 1_600)]


@pytest.mark.parametrize("kind", ["frames", "phones+f0"])
def test_what_the_network_learns_from_is_what_it_is_told_when_it_speaks(noise, kind):
    """Crops through the whole network, against both ways to generate, at every sample of a recording."""
    small = ("model.cycles=1", "model.layers_per_cycle=5", "model.residual=8", "model.skip=8", "model.head=8",
             "model.local_channels=6", "training.segment_samples=640")  # fmt: skip
    config, phones = settings_of(kind, "data.speakers=none", *small), ["_", "a"]
    size = features(config, phones).size
    config = config.model_copy(update={"model": config.model.model_copy(update={"local_features": size})})
    corpus = corpus_of(noise, phones)
    model = new_model(config, corpus).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # no interpolation any more, so that a wrong neighbour shows
            parameter += 0.2 * torch.randn_like(parameter)
    made, recording = features(config, phones), noise[0]
    _, local = conditions(model, made, recording, len(recording.samples))
    heard = torch.zeros(0)
    with torch.no_grad():
        for crops in Cropper(config.model, 640, made).all([recording], 1):
            expected = model(crops.samples, None, crops.frames, crops.context)
            heard = torch.cat([heard, expected[crops.counted]])
    codes = torch.cat(
        [c.samples[:, c.context :][c.counted] for c in Cropper(config.model, 640, made).all(noise[:1], 1)]
    )
    given = codes[:, None].numpy().astype(np.float32)
    for generator in (Generator(model, 1, "float32"), GraphedGenerator(model, 1, torch.device("cpu"))):
        begin(generator, local)
        parts = [generator.listen(given[s : s + 330], local(s, min(330, 2_000 - s))) for s in range(0, 2_000, 330)]
        np.testing.assert_allclose(np.concatenate(parts)[:, 0], heard, atol=2e-4)


def corpus_of(recordings, phones):
    return Corpus(recordings, recordings[:1], [], phones, [])


def test_an_acoustic_models_frames_are_learned_from_at_the_end(noise):
    recordings = [replace(r, said_frames=replace(r.frames, mel=r.frames.mel + 100)) for r in noise]
    words = (
        "data.said_frames=y",
        "training.steps=10",
        "training.said_frames_after=0.7",
        "training.segment_samples=640",
    )
    corpus = corpus_of(recordings, [])
    cropper_at = croppers(settings_of("frames", *words), corpus)
    own = [
        float(cropper_at(step).random(recordings, 4, np.random.default_rng(0)).frames.max()) < 50 for step in range(10)
    ]
    assert own == [True] * 7 + [False] * 3
    assert (
        croppers(settings_of("frames"), corpus)(4_999).random(recordings, 4, np.random.default_rng(0)).frames.max() < 50
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Bursts of noise, each file with a text of its own."""
    monkeypatch.setenv("APEX_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(2)
    (tmp_path / "bursts").mkdir()
    for i, when in enumerate(("001011", "100011", "001101", "110001", "010101", "101010")):
        loud = np.repeat([0.3 if mark == "1" else 0.02 for mark in when], RATE // 20)
        soundfile.write(f"bursts/{i}.wav", rng.normal(0, loud).clip(-0.9, 0.9), RATE)
        (tmp_path / "bursts" / f"{i}.json").write_text(json.dumps({"text": f"Text {i}."}))
    return tmp_path / "bursts"


@pytest.mark.timeout(240)
def test_a_vocoder_from_frames_to_sound(folder, capsys):
    run = trained(
        "vocoder", "data.folder=bursts", *SMALL, "training.steps=150", "training.ema=0.9",
        "training.learning_rate=1.0e-2", "training.warmup_steps=10", "data.validation_fraction=0.5",
    )  # fmt: skip
    config, model = checkpoint.load_model(run)
    corpus, settings = load_corpus(config.data, checkpoint.known(run)), config.data.frames
    made = features(config, corpus.phones)
    own, wrong = (
        mean_bits(bits_by_file(config, model, corpus.validation, of))
        for of in (made, of_others(made, corpus.validation))
    )
    assert len(corpus.validation) > 1 and own < wrong - 0.1, "frames say when noise is loud"
    # The three ways to give it frames of one recording sound the same, but for an F0 that noise does not have.
    frames = frames_file.frames_of_file(folder / "0.wav", settings)
    frames_file.save(frames, folder / "0.npz")
    np.save(folder / "0.npy", frames.mel.T)  # [bands, T], as many programs have it
    sounds = []
    for words in (["--like", "bursts/0.wav"], ["--frames", "bursts/0.npz"], ["--frames", "bursts/0.npy"]):
        assert main(["generate", str(run), *words, "--out", "again.wav"]) == 0
        sounds.append(soundfile.read("again.wav")[0])
    np.testing.assert_array_equal(sounds[0], sounds[1])
    assert [len(sound) for sound in sounds] == [4_800] * 3
    loud = [np.sqrt((sound.reshape(6, 800) ** 2).mean(1)) for sound in (*sounds, soundfile.read("bursts/0.wav")[0])]
    for found in loud[:3]:
        assert (np.argsort(found)[3:] == np.argsort(loud[3])[3:]).all() or np.corrcoef(found, loud[3])[0, 1] > 0.8
    capsys.readouterr()
    other = frames_file.load(folder / "0.npz")
    frames_file.save(replace(other, settings=settings.model_copy(update={"log_base": "10"})), folder / "log10.npz")
    np.save(folder / "narrow.npy", frames.mel[:, :7])
    np.save(folder / "decibels.npy", 20 * frames.mel)
    for words, told in (
        ([], "expected --like FILE, whose spectrum it sounds or --frames FILE, which it sounds"),
        (["--like", "bursts/0.wav", "--frames", "bursts/0.npz"], "expected --like FILE"),
        (["--score", "x.mid"], "expected no --score"),
        (["--frames", "bursts/log10.npz"], "log_base = 10; expected e"),
        (["--frames", "bursts/narrow.npy"], "expected 20 mel bands. The run is given 20 mel bands from 0 to 8000 Hz"),
        (["--frames", "bursts/decibels.npy"], "expected logarithms, with -9.21 for silence"),
        (["--frames", "bursts/none.npy"], "none.npy can't be read"),
        (["--frames", "bursts/0.wav"], "expected a name that ends in .npy or .npz"),
    ):
        assert main(["generate", str(run), *words]) == 2
        assert told in capsys.readouterr().err
    assert main(["speak", str(run), "A text."]) == 2
    assert "expected --acoustic RUN, which says its frames" in capsys.readouterr().err


def test_what_is_amiss_with_an_acoustic_models_frames_is_told(folder, tmp_path):
    config = DataConfig(
        folder="bursts", conditions="frames", frames=FrameSettings(bands=20), said_frames=str(tmp_path / "said")
    )
    (tmp_path / "said").mkdir()
    for i, path in enumerate(sorted(folder.glob("*.wav"))):
        frames = frames_file.frames_of_file(path, config.frames)
        assert len(frames) == 30
        if i == 1:
            frames = frames.cut(0, 29)
        if i == 2:
            frames = replace(frames, settings=FrameSettings(bands=20, floor=1e-5))
        if i != 3:
            frames_file.save(frames, tmp_path / "said" / f"{i}.npz")
    corpus = load_corpus(config)
    both = [*corpus.train, *corpus.validation]
    assert sorted(r.name for r in both) == ["0.wav", "4.wav", "5.wav"]
    np.testing.assert_array_equal(both[0].said_frames.mel, both[0].frames.mel)
    short, other, none = corpus.skipped
    assert short == "1.wav has 30 frames, but 29 in data.said_frames"
    assert other.startswith("2.wav has nothing in data.said_frames that can be used") and "floor = 1e-05" in other
    assert none.startswith("3.wav has nothing in data.said_frames that can be used")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("data.frames.hop_samples=200",), "hop_samples 200 are not data.sample_rate 16000 and the product"),
        (("data.sample_rate=8000",), "sample_rate 16000 and hop_samples 160 are not data.sample_rate 8000"),
        (("data.conditions=phones", "data.said_frames=x"), "takes no part in data.conditions=phones"),
    ],
)
def test_settings_of_frames_that_do_not_fit(words, told):
    with pytest.raises(UserError, match=told):
        PRESETS.load("vocoder", ["data.folder=x", *words])


def test_f0_is_found_in_a_mel_spectrum_alone():
    """Harmonics of a voice that glides from 120 to 180 Hz."""
    t = np.arange(RATE) / RATE
    hz = 120 * 1.5**t
    phase = 2 * np.pi * np.cumsum(hz) / RATE
    sound = 0.05 * sum(np.sin(k * phase) / k for k in range(1, 20)) * (t < 0.9)
    settings = FrameSettings()
    mel = frames_file.mel_of(sound, settings)
    found = with_pitch(mel, settings)
    inside = slice(5, 85)
    off = 1_200 / np.log(2) * (found.log_f0 - np.log(hz[80::160]))[inside]
    assert found.voiced[inside].mean() > 0.9 and np.median(np.abs(off)) < 30
    assert not found.voiced[95:].any() and len(griffin_lim(found)) == RATE


def test_an_npz_of_ours_is_given_as_it_is(tmp_path):
    frames_file.save(SAID, tmp_path / "a.npz")
    given = read_given(str(tmp_path / "a.npz"), THREE)
    np.testing.assert_array_equal(given.mel, SAID.mel)
