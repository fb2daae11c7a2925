"""Frames of sounds whose frames are known, their file, their scale, and what is refused."""

import math

import numpy as np
import pytest
import soundfile

from trainkit.errors import UserError
from trainkit.sound import UnusableError
from trainkit.speech import frames as module
from trainkit.speech.frames import (
    Frames,
    FrameSettings,
    analyse,
    continuous,
    frames_of_file,
    joined,
    load,
    mel_of,
    save,
)
from trainkit.speech.griffin_lim import griffin_lim
from trainkit.speech.scale import Scale

SETTINGS = FrameSettings()
SMALL = FrameSettings(bands=2)


def tone(seconds, hz=200.0, rate=16_000):
    """A buzz: a tone with nine overtones."""
    t = np.arange(int(seconds * rate)) / rate
    return (0.1 * sum(np.sin(2 * np.pi * hz * k * t) for k in range(1, 11))).astype(np.float32)


def small(mel, log_f0, voiced, settings=SMALL):
    return Frames(settings, np.array(mel, np.float32), np.array(log_f0, np.float32), np.array(voiced, bool))


@pytest.mark.parametrize(("samples", "count"), [(1, 1), (159, 1), (160, 1), (161, 2), (16_000, 100)])
def test_frames_fit_the_samples(samples, count):
    assert SETTINGS.frames(samples) == count == len(mel_of(tone(1)[:samples], SETTINGS))
    assert mel_of(tone(1)[:samples], SETTINGS).shape == (count, 80)


def test_a_frame_is_of_the_sound_around_its_middle():
    for click in (0, 80, 1_000, 1_200, 3_199):
        sound = np.zeros(3_200, np.float32)
        sound[click] = 1
        loudness = np.exp(mel_of(sound, SETTINGS)).sum(1)
        middles = (np.arange(20) + 0.5) * 160
        assert abs(middles[loudness.argmax()] - click) <= 80
        heard = np.flatnonzero(loudness > loudness.min())
        assert np.all(np.abs(middles[heard] - click) <= 400), "a window has 800 samples"


def test_pitch_and_voicing_of_a_tone():
    sound = np.concatenate([np.zeros(8_000, np.float32), tone(0.5, 200), tone(0.5, 150)])
    found = analyse(sound, SETTINGS)
    assert len(found) == 150 and not found.voiced[:45].any()
    assert found.voiced[55:95].all() and found.voiced[106:145].all()
    cents = 1_200 / math.log(2) * (found.log_f0 - np.log(np.repeat([200, 150], [100, 50])))
    assert np.abs(cents[55:95]).max() < 20 and np.abs(cents[106:145]).max() < 20
    assert np.allclose(found.log_f0[:45], found.log_f0[0]) and abs(cents[0]) < 30, "level before the first voiced frame"
    np.testing.assert_array_equal(found.mel, mel_of(sound, SETTINGS))
    assert found.mel[:40].max() == pytest.approx(math.log(1e-4)), "silence is the floor"
    whole = FrameSettings(log_base="10")
    np.testing.assert_allclose(mel_of(sound, whole) * math.log(10), found.mel, rtol=1e-5)


def test_log_f0_is_a_straight_line_between_voiced_parts():
    f0 = np.exp([np.nan, 4.0, np.nan, np.nan, np.nan, 6.0, np.nan])
    voiced = np.array([0, 1, 0, 0, 0, 1, 0], bool)
    np.testing.assert_allclose(continuous(f0, voiced, SETTINGS), [4, 4, 4.5, 5, 5.5, 6, 6])
    nothing = continuous(np.full(3, np.nan), np.zeros(3, bool), FrameSettings(lowest_f0_hz=100, highest_f0_hz=400))
    np.testing.assert_allclose(nothing, [math.log(200)] * 3, rtol=1e-6)


def test_parts_of_frames_and_parts_joined():
    whole = small([[1, 2], [3, 4]], [5, 6], [True, True])
    cut = whole.cut(-1, 4)
    quiet = SMALL.quietest
    np.testing.assert_allclose(cut.mel, [[quiet, quiet], [1, 2], [3, 4], [quiet, quiet]])
    assert cut.log_f0.tolist() == [5, 5, 6, 6] and cut.voiced.tolist() == [False, True, True, False]
    both = joined([whole, cut])
    assert len(both) == 6 and both.log_f0.tolist() == [5, 6, 5, 5, 6, 6] and both.samples == 960


def test_a_file_of_frames_there_and_back(tmp_path):
    whole = small([[1, 2], [3, 4]], [5, 6], [True, False])
    save(whole, tmp_path / "a.npz")
    again = load(tmp_path / "a.npz", SMALL)
    assert again.settings == SMALL and again.mel.dtype == np.float32
    for name in ("mel", "log_f0", "voiced"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))


def test_files_of_frames_that_are_refused(tmp_path):
    file = tmp_path / "a.npz"
    good = {"settings": SMALL.model_dump_json(), "mel": np.zeros((3, 2)), "log_f0": np.zeros(3), "voiced": np.ones(3)}

    def refused(match, expected=None, **changes):
        np.savez(file, **{key: value for key, value in (good | changes).items() if value is not None})
        with pytest.raises(UserError, match=match):
            load(file, expected)

    refused(
        "hop_samples = 160; expected 256: the frames are of other settings", FrameSettings(bands=2, hop_samples=256)
    )
    refused("expected settings, mel, log_f0 and voiced", mel=None)
    refused(r"mel has shape \[3, 5\]; expected \[3, 2\]", mel=np.zeros((3, 5)))
    refused(r"mel has shape \[\]; expected \[1, 2\]", mel=np.zeros(()))
    refused(r"log_f0 has shape \[4\]; expected \[3\]", log_f0=np.zeros(4))
    refused("no frames, or some that are no numbers", log_f0=np.full(3, np.nan))
    refused("no frames, or some", mel=np.zeros((0, 2)), log_f0=np.zeros(0), voiced=np.zeros(0))
    refused("hops: Extra inputs are not permitted; expected settings", settings='{"hops": 3}')
    refused("can't be read as an .npz", mel=np.array([{}], dtype=object))
    refused("can't be read as an .npz", mel=np.array([["loud", "low"]]))
    file.write_bytes(b"PK\x03\x04no")
    with pytest.raises(UserError, match=r"a\.npz' can't be read as an \.npz of arrays"):
        load(file)
    with pytest.raises(UserError, match="none' can't be read: No such file"):
        load(tmp_path / "none")
    with pytest.raises(UserError, match="can't be written: No such file"):
        save(small([[1, 2]], [5], [True]), tmp_path / "none" / "a.npz")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"sample_rate": 8_000}, "highest_hz 8000 is not above lowest_hz and up to half the rate, 4000"),
        ({"lowest_f0_hz": 600.0}, "highest_f0_hz 500 is not above lowest_f0_hz"),
        ({"window_samples": 100}, "window_samples 100 is shorter than hop_samples 160"),
    ],
)
def test_settings_that_do_not_fit_together(settings, told):
    with pytest.raises(ValueError, match=told):
        FrameSettings(**settings)


def test_what_mel_frames_of_others_must_be_is_told():
    told = FrameSettings(log_base="10", floor=1e-3).describe()
    assert "80 mel bands from 0 to 8000 Hz" in told and "a frame every 160 samples" in told
    assert "logarithms to base 10 of no less than 0.001, which is -3.00" in told


def test_frames_are_kept_until_the_file_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("APEX_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "a.wav"
    soundfile.write(file, tone(0.3), 16_000)
    first = frames_of_file(file, SETTINGS)
    analysed = []
    monkeypatch.setattr(module, "analyse", lambda *given: analysed.append(given) or analyse(*given))
    again = frames_of_file(file, SETTINGS)
    assert not analysed and again.voiced.dtype == bool
    for name in ("mel", "log_f0", "voiced"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert frames_of_file(file, FrameSettings(bands=40)).mel.shape == (30, 40) and len(analysed) == 1
    soundfile.write(file, tone(0.4), 16_000)
    assert len(frames_of_file(file, SETTINGS)) == 40
    soundfile.write(file, np.zeros(100), 16_000)
    with pytest.raises(UnusableError, match="silent"):
        frames_of_file(file, SETTINGS)


def test_frames_around_nought_and_back():
    one = small([[0, 10], [2, 10]], [1, 100], [True, False])
    two = small([[4, 10]], [3], [True])
    scale = Scale.of([one, two])
    np.testing.assert_allclose(scale.mean, [2, 10, 2])
    np.testing.assert_allclose(scale.spread, [math.sqrt(8 / 3), 1e-2, 1], rtol=1e-6)
    np.testing.assert_allclose(scale.normalised(two), [[2 / math.sqrt(8 / 3), 0, 1, 1]], rtol=1e-6)
    back = Scale.read(scale.plain()).restored(scale.normalised(one), SMALL)
    np.testing.assert_allclose(back.mel, one.mel, atol=1e-6)
    np.testing.assert_allclose(back.log_f0, one.log_f0, rtol=1e-6)
    assert back.voiced.tolist() == [True, False]
    low = Scale(np.zeros(3), np.ones(3)).restored(np.array([[-99, 0, 5, 0.5]], np.float32), SMALL)
    assert low.mel[0, 0] == pytest.approx(SMALL.quietest) and not low.voiced[0], "nothing is below silence"
    unvoiced = Scale.of([small([[0, 0]] * 2, [4, 6], [False, False])])
    assert unvoiced.mean[2] == pytest.approx(5) and unvoiced.spread[2] == pytest.approx(1)


def test_griffin_lim_sounds_what_it_is_given():
    sound = np.concatenate([np.zeros(4_000, np.float32), tone(0.5)])
    mel = mel_of(sound, SETTINGS)
    frames = Frames(SETTINGS, mel, np.zeros(len(mel), np.float32), np.ones(len(mel), bool))
    made = griffin_lim(frames)
    assert len(made) == frames.samples and np.abs(made).max() <= 1
    again, heard = mel_of(made, SETTINGS)[30:70], mel[30:70]
    assert np.abs(again - heard)[heard > -4].mean() < 0.5 < np.abs(mel[35] - mel[5])[heard[5] > -4].mean()
    loud = np.abs(made).reshape(-1, 160).max(1)
    assert loud[:22].max() < 0.02 < 0.2 < loud[28:70].min(), "and when"
