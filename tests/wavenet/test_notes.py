"""Scores from files to frames, by hand where it matters when a note is struck; and from a score to sound."""

import json

import numpy as np
import pytest
import soundfile
import torch

from tests.wavenet.runs import trained
from wavenet import checkpoint
from wavenet.cli import main
from wavenet.config import PRESETS, DataConfig, ModelConfig
from wavenet.corpus import load_corpus
from wavenet.evaluation import bits_by_file, mean_bits, of_others
from wavenet.features import features
from wavenet.generate import framed, upsampled
from wavenet.model import WaveNet
from wavenet.notes import PITCHES, RINGING_S, note_frames, read_score, score
from wavenet.piano import play

PLAYED = score([(0.025, 0.06, 60, 127), (0.04, 0.04, 62, 100), (0.06, 0.075, 60, 64)], 0.1)
RATE = 8_000


def test_frames_by_hand():
    frames = note_frames(PLAYED, -1, 10, 0.02).reshape(10, 2, PITCHES)  # of 20 ms, from 20 ms before the beginning
    held, struck = np.zeros((2, 10, PITCHES))
    held[2, 60] = held[3, 60] = 1  # 20 to 60 ms
    held[4, 60] = 64 / 127
    struck[2, 60] = 0.75  # 5 ms into its frame
    struck[4, 60] = 1.0
    struck[3, 62] = 1.0  # of no length: struck and not held
    np.testing.assert_allclose(frames[:, 0], held, atol=1e-6)
    np.testing.assert_allclose(frames[:, 1], struck, atol=1e-6)


def test_any_window_is_cut_out_of_the_whole():
    whole = note_frames(PLAYED, -5, 25, 0.01)
    for first in range(-5, 15):
        np.testing.assert_array_equal(note_frames(PLAYED, first, 5, 0.01), whole[first + 5 : first + 10])


def midi(path, notes):
    import pretty_midi

    written, piano = pretty_midi.PrettyMIDI(), pretty_midi.Instrument(0)
    piano.notes = [pretty_midi.Note(velocity, pitch, start, end) for start, end, pitch, velocity in notes]
    written.instruments = [piano]
    written.write(str(path))


def test_a_midi_file(tmp_path):
    midi(tmp_path / "a.mid", [(0.5, 1.0, 64, 80), (0.0, 0.5, 60, 127)])
    read = read_score(tmp_path / "a.mid")
    np.testing.assert_allclose(read.starts, [0, 0.5], atol=0.003)
    np.testing.assert_allclose(read.ends, [0.5, 1.0], atol=0.003)
    assert read.pitches.tolist() == [60, 64] and read.velocities[0] == 1
    assert read.seconds == pytest.approx(1 + RINGING_S, abs=0.003)


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ("{", "can't be used"),
        ('{"notes": [], "seconds": 1}', "there are none"),
        ('{"notes": [[1, 0.5, 60, 90]], "seconds": 1}', "ends before it begins"),
        ('{"notes": [[0, 0.5, 128, 90]], "seconds": 1}', "outside 0 to 127"),
        ('{"notes": [[0, 0.5, 60]], "seconds": 1}', "can't be used"),
        ('{"phones": []}', "can't be used"),
    ],
)
def test_a_broken_score_is_named_and_its_recording_left_out(tmp_path, monkeypatch, held, told):
    monkeypatch.setenv("APEX_CACHE", str(tmp_path / "cache"))
    for name in ("a", "b", "c", "d"):
        soundfile.write(tmp_path / f"{name}.wav", np.sin(np.arange(4_000)), RATE)
        (tmp_path / f"{name}.json").write_text(json.dumps({"notes": [[0, 0.4, 60, 90]], "seconds": 0.5}))
    (tmp_path / "c.json").write_text(held)
    (tmp_path / "d.json").unlink()
    corpus = load_corpus(DataConfig(folder=str(tmp_path), sample_rate=RATE, conditions="notes"))
    assert len(corpus.train) + len(corpus.validation) == 2
    assert [text.split()[0] for text in corpus.skipped] == ["c.wav", "d.wav"] and told in corpus.skipped[0]
    assert "d.json or d.mid or d.midi" in corpus.skipped[1]


def test_frames_brought_to_samples_in_pieces_are_those_of_the_whole():
    torch.manual_seed(0)
    every = np.random.default_rng(0).normal(size=(38, 6)).astype(np.float32)  # the piece's 20, and 9 at each end
    model = WaveNet(ModelConfig(cycles=1, layers_per_cycle=2, local_features=6, local_channels=5, upsampling=(3, 2, 2)))
    reach = model.config.reach_frames
    frames = framed(model, lambda first, count: every[first + 9 : first + 9 + count], 240)
    assert model.config.receptive_field == 5, "within a frame"
    np.testing.assert_array_equal(frames, every[9 - reach - 1 : 29 + reach])
    whole = model.conditions.upsampling(torch.from_numpy(every)[None]).detach()
    for start, samples in ((0, 240), (0, 7), (-5, 5), (-1, 30), (5, 50), (100, 12), (230, 10)):
        part = upsampled(model, frames, start, samples)
        torch.testing.assert_close(part, whole[:, start + 12 * 9 :][:, :samples], rtol=1e-5, atol=1e-6)


def test_from_a_score_to_its_sound(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("APEX_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for i in range(8):
        places = np.sort(rng.choice(8, 3, replace=False))  # of an eighth of a second; between them it is still
        notes = [(0.125 * k, 0.125 * k + 0.1, int(rng.choice([60, 67])), 100) for k in map(int, places)]
        sound = play(notes, RATE)[:RATE]
        soundfile.write(f"{i}.wav", sound, RATE)
        (tmp_path / f"{i}.json").write_text(json.dumps({"notes": notes, "seconds": len(sound) / RATE}))
    run = trained(
        "piano", "data.folder=.", f"data.sample_rate={RATE}", "model.upsampling=[8,10]", "model.cycles=1",
        "model.layers_per_cycle=4", "model.residual=16", "model.skip=16", "model.head=16", "model.local_channels=16",
        "training.batch=4", "training.segment_samples=1600", "training.steps=150", "training.ema=0.9",
        "training.learning_rate=1.0e-2", "training.warmup_steps=10", "data.validation_fraction=0.4", "runs_dir=runs",
    )  # fmt: skip
    config = PRESETS.load_run(run)
    held, model = load_corpus(config.data).validation, checkpoint.load_model(run)[1]
    config, made = config.model_copy(update={"model": model.config}), features(config, [])
    assert made is not None and len(held) > 1
    own, wrong = (mean_bits(bits_by_file(config, model, held, of)) for of in (made, of_others(made, held)))
    assert own < wrong - 0.1, "a score says when there is sound"
    midi(tmp_path / "new.mid", [(0.2, 0.5, 60, 100), (0.8, 1.0, 67, 100)])
    assert main(["generate", str(run), "--score", "new.mid", "--out", "new.flac"]) == 0
    assert soundfile.info("new.flac").frames == pytest.approx((1.0 + RINGING_S) * RATE, abs=30)
    capsys.readouterr()
    for words, told in (
        ([], "--score FILE, that it plays"),
        (["--score", "none.mid"], "has no notes in none.mid"),
        (["--score", "0.wav"], "ends in .json or .mid or .midi"),
        (["--score", "new.mid", "--like", "0.wav"], "conditions=notes; expected no --like"),
    ):
        assert main(["generate", str(run), *words]) == 2 and told in capsys.readouterr().err
