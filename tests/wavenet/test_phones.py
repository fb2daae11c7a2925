"""Phones from eSpeak NG to frames to crops, by hand where it matters when a phone begins."""

import json
import shutil

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cluster.data_parallel import Worker
from tests.wavenet.runs import trained
from trainkit.errors import UserError
from trainkit.speech.espeak import UnsayableError, synthesize
from trainkit.speech.phones import PhoneFeatures, read_timeline, timeline, vocabulary
from wavenet import checkpoint
from wavenet.cli import main
from wavenet.config import PRESETS, DataConfig, ModelConfig
from wavenet.corpus import Recording, load_corpus
from wavenet.crops import Cropper
from wavenet.features import of_phones
from wavenet.metrics import EXPORTED, METRICS
from wavenet.train import excerpt, settled

LINE = timeline([(0.02, "h"), (0.05, "'oU"), (0.10, "_:")], 0.12)


def test_frames_by_hand():
    names = vocabulary([LINE])
    assert names == ["_", "h", "oU"]
    frames = PhoneFeatures(names, 0.02)(LINE, -1, 8)  # frames of 20 ms from 20 ms before the beginning
    nothing = [0.0] * 9
    h, o, pause = [0, 1, 0], [0, 0, 1], [1, 0, 0]
    by_hand = [
        nothing,  # before the beginning
        [*h, *o, 0, 0, np.log(0.03)],  # 0 to 20 ms: the first phone's turn already
        [*h, *o, 0, 1 / 3, np.log(0.03)],  # middle at 30 ms, 10 of its 30 ms
        [*o, *pause, 1, 0, np.log(0.05)],  # middle at 50 ms, where oU begins
        [*o, *pause, 1, 0.4, np.log(0.05)],
        [*o, *pause, 1, 0.8, np.log(0.05)],
        [*pause, *pause, 0, 0.5, np.log(0.02)],  # after the last comes a pause
        nothing,  # after the end
    ]
    np.testing.assert_allclose(frames, np.array(by_hand), atol=1e-5)


def test_any_window_is_cut_out_of_the_whole():
    made = PhoneFeatures(vocabulary([LINE]), 0.01)
    whole = made(LINE, -5, 25)
    for first in range(-5, 15):
        np.testing.assert_array_equal(made(LINE, first, 5), whole[first + 5 : first + 10])


def test_a_phone_that_was_never_learned_is_no_phone():
    frames = PhoneFeatures(["_", "h"], 0.02)(LINE, 0, 6)
    assert frames[3, :2].sum() == 0 and frames[1, 1] == 1


def test_crops_have_the_frames_of_their_samples():
    model = ModelConfig(cycles=1, layers_per_cycle=4, local_features=9, upsampling=(4, 2), residual=4, skip=4, head=4)
    made = PhoneFeatures(vocabulary([LINE]), 8 / 1_000)  # 8 samples at 1 kHz
    recordings = [Recording("a", np.arange(1, 121, dtype=np.int16), 0, LINE)]
    cropper = Cropper(model.model_copy(update={"output": "logistics"}), 24, of_phones(made))
    whole = made(LINE, -20, 60)
    seen = 0
    for crops in [*cropper.all(recordings, 2), cropper.random(recordings, 50, np.random.default_rng(0))]:
        assert crops.context % 8 == 0 and crops.context >= model.receptive_field
        assert (crops.frames.shape[1] - model.reach_frames) * 8 == crops.samples.shape[1]
        for row, real, frames in zip(crops.samples, crops.counted, crops.frames, strict=True):
            heard = (row * 32_768).round().long()
            place = int(real.nonzero()[0])
            start = int(heard[crops.context + place]) - 1 - place  # of the crop's first predicted sample
            assert start % 8 == 0
            first = (start - crops.context) // 8
            np.testing.assert_array_equal(frames, whole[first + 20 : first + 20 + len(frames)])
            seen += int(real.sum())
    assert seen > 200


def test_espeak_says_english_and_japanese():
    english, japanese = synthesize("Hello world.", "en-us"), synthesize("こんにちは。", "ja", "f2")
    for said in (english, japanese):
        starts = [start for start, _ in said.phones]
        assert starts == sorted(starts) and 0.4 < said.seconds < 5 and starts[-1] <= said.seconds
        assert 0.05 < np.abs(said.sound).max() <= 1
    names = [name for _, name in english.phones]
    assert names[:3] == ["h", "@", "l"] and "'3:" in names
    assert not np.array_equal(synthesize("Hello world.", "en-us", "m1").sound, english.sound)
    with pytest.raises(UserError, match="unknown to eSpeak NG"):
        synthesize("x", "xx-none")
    with pytest.raises(UnsayableError, match="can say nothing"):
        synthesize("", "en-us")


@pytest.fixture
def made(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("APEX_CACHE", str(tmp_path / "cache"))
    words = ["data", "speech", "--language", "en,ja", "--voice", "f1,m1", "--sentences", "4", "--out"]
    assert main([*words, str(tmp_path / "made")]) == 0
    assert "en: 4 sentences" in capsys.readouterr().out
    return tmp_path / "made"


def test_a_made_corpus(made):
    corpus = load_corpus(DataConfig(folder=str(made), conditions="phones", speakers="folder"))
    assert list(corpus.speakers) == ["en-f1", "en-m1", "ja-f1", "ja-m1"] and not corpus.skipped
    assert {"_", "h"} <= set(corpus.phones) and len([*corpus.train, *corpus.validation]) == 8
    for recording in corpus.train:
        assert recording.phones.end == pytest.approx(len(recording.samples) / 16_000, abs=0.01)
    assert json.loads((made / "ja-f1" / "0000.json").read_text())["text"].endswith("。")


def test_phones_that_are_missing_or_wrong_are_named(made):
    (made / "en-f1" / "0000.json").unlink()
    (made / "en-f1" / "0002.json").write_text("{}")
    (made / "en-m1" / "0001.json").write_text(json.dumps({"seconds": 1, "phones": [[0.5, "a"], [0.1, "b"]]}))
    skipped = load_corpus(DataConfig(folder=str(made), conditions="phones")).skipped
    assert len(skipped) == 3
    assert skipped[0] == "en-f1/0000.wav has no 0000.json with its phones beside it"
    assert "can't be read" in skipped[1] and "out of order" in skipped[2]


@pytest.mark.timeout(240)
def test_a_network_that_speaks(made, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = (
        "model.cycles=1", "model.layers_per_cycle=4", "model.residual=16", "model.skip=16", "model.head=16",
        "training.steps=4", "training.validate_every_steps=4", "training.report_every_steps=2", "training.batch=2",
        "training.segment_samples=1600", "training.excerpt_s=0.1",
    )  # fmt: skip
    run = trained("speech", f"data.folder={made}", *small)
    assert main(["speak", str(run), "A tall man sings.", "--voice", "m1", "--out", "s.wav"]) == 0
    import soundfile

    said, rate = soundfile.read("s.wav")
    expected = synthesize("A tall man sings.", "en-us", "m1")
    # eSpeak's own length varies by a few samples from call to call.
    assert rate == 16_000 and len(said) == pytest.approx(expected.seconds * 16_000, abs=100)
    assert main(["evaluate", str(run)]) == 0 and "FLAC" in capsys.readouterr().out
    assert main(["speak", str(run), "x", "--voice", "zz"]) == 2
    assert "voice 'zz' is unknown to eSpeak NG; expected f1 to f5" in capsys.readouterr().err
    assert main(["speak", str(run), "A tall man.", "--voice", "m3", "--speaker", "ja-f1", "--out", "s.wav"]) == 0
    assert main(["speak", str(run), "A tall man.", "--voice", "m3", "--out", "s.wav"]) == 2
    assert "'en-m3': expected one of en-f1, en-m1, ja-f1, ja-m1" in capsys.readouterr().err
    config = PRESETS.load_run(run)
    corpus = load_corpus(config.data, checkpoint.known(run))
    writer = Worker(0, 1, torch.device("cpu")).open_log(run, 0, METRICS, EXPORTED)
    excerpt(settled(config, corpus), checkpoint.load_model(run)[1], corpus, writer, 7)
    writer.close()
    seen = EventAccumulator(str(run / "tensorboard"), size_guidance={"audio": 0}).Reload()
    (heard,) = seen.Audio("excerpt")
    assert heard.step == 7 and heard.sample_rate == 16_000 and heard.length_frames == 1_600
    assert seen.Tags()["images"] == ["excerpt"]
    (made / "en-f1").rename(made / "en-a1")
    shutil.rmtree(made / "ja-m1")
    changed = load_corpus(config.data, checkpoint.known(run))
    assert list(changed.speakers) == ["en-f1", "en-m1", "ja-f1", "ja-m1"], "numbers are those of the run"
    assert {r.speaker for r in [*changed.train, *changed.validation]} == {1, 2}
    assert len(changed.skipped) == 2 and "of 'en-a1', a speaker that the run does not know" in changed.skipped[0]
    assert main(["speak", str(run), "x", "--language", "fr"]) == 2
    assert "expected one of en, ja" in capsys.readouterr().err
    assert main(["generate", str(run)]) == 2
    assert "expected apex-wavenet speak" in capsys.readouterr().err


def test_a_segment_is_whole_frames():
    with pytest.raises(UserError, match="the nearest is 4800"):
        PRESETS.load("speech", ["data.folder=x", "training.segment_samples=4801"])


def test_read_timeline_of_a_good_file(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"seconds": 0.12, "phones": [[0.02, "h"], [0.05, "'oU"], [0.1, "_:"]]}))
    line = read_timeline(path)
    assert line.names == LINE.names and line.stressed.tolist() == [False, True, False]
    assert torch.equal(torch.from_numpy(line.starts), torch.from_numpy(LINE.starts))
