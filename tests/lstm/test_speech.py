"""`apex-lstm train speech` from a corpus by eSpeak NG to frames and sound of any text; and the mistakes on the way."""

import json
import math
import shutil
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from cluster.data_parallel import Worker
from lstm import checkpoint
from lstm.cli import main
from lstm.export import FRAMES, PHONES
from lstm.network import build
from lstm.speaking import Acoustic, starts
from lstm.speech_scores import Score, simpler
from lstm.tasks.make import make_task
from lstm.tasks.speech import spoken_spread
from lstm.train import learn
from tests.lstm.speech_runs import corpus, settings, trained
from trainkit.errors import UserError
from trainkit.runs import create_run
from trainkit.speech import acoustic, frames
from trainkit.speech.frame_settings import FrameSettings
from trainkit.speech.spoken import Token, spoken

ROOT = Path(__file__).parents[2]
STEPS = 60


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the corpus `made`, a run that learned it, and the cache of its frames."""
    folder = tmp_path_factory.mktemp("speech")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("APEX_CACHE", str(folder / "cache"))
        corpus(folder / "made")
        words = ("training.learning_rate=2e-2", f"training.steps={STEPS}", "training.validate_every_steps=20")
        run = trained(folder / "made", *words)
    return folder, run


@pytest.fixture(autouse=True)
def here(place, monkeypatch):
    monkeypatch.chdir(place[0])
    monkeypatch.setenv("APEX_CACHE", str(place[0] / "cache"))
    # The package that is installed may be of another version than these sources.
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][acoustic.ACOUSTIC_MODELS]
    points = [EntryPoint(name, value, acoustic.ACOUSTIC_MODELS) for name, value in entries.items()]
    monkeypatch.setattr(
        acoustic, "entry_points", lambda group, name=None: [p for p in points if name in (None, p.name)]
    )


def rows(run):
    return [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_run_learns_its_voices(place, capsys):
    run = place[1]
    seen = [row["validation_loss"] for row in rows(run) if "validation_loss" in row]
    assert seen[-1] < 0.75 * next(row["loss"] for row in rows(run) if "loss" in row)
    assert main(["evaluate", str(run)]) == 0
    head, *table = capsys.readouterr().out.splitlines()
    assert "F0, cents" in head and [line[:28].strip() for line in table] == [
        "LSTM", "LSTM, without its spread", "linear map", "mean",
    ]  # fmt: skip
    figures = [[float(word.rstrip("%")) for word in line[28:].split()] for line in table]
    assert all(len(row) == 5 and np.isfinite(row).all() for row in figures)
    assert figures[0][1] < figures[3][1] and figures[1][3] < figures[3][3], "voicing and spectrum, beside means"


def test_a_text_becomes_frames_sentence_by_sentence(place):
    run = place[1]
    model = acoustic.open_acoustic(run)
    assert isinstance(model, Acoustic)
    assert [*model.languages] == ["en", "ja"] and [*model.speakers] == ["en-f1", "ja-f1"]
    assert model.settings == FrameSettings(bands=20)
    parts = list(model.speak("A tall man sings. Mr. Fox enjoys soup!", speaker="en-f1"))
    assert len(parts) == 2 and all(p.mel.shape == (len(p), 20) and np.isfinite(p.mel).all() for p in parts)
    assert parts[0].mel.min() >= model.settings.quietest - 1e-5
    slow = list(model.speak("A tall man sings. Mr. Fox enjoys soup!", speed=0.5))
    assert 1.5 < sum(map(len, slow)) / sum(map(len, parts)) < 2.5
    (high,), (low,) = (list(model.speak("A tall man sings.", pitch=pitch)) for pitch in (2.0, 1.0))
    np.testing.assert_allclose(high.log_f0 - low.log_f0, math.log(2), rtol=1e-5)
    (japanese,) = model.speak("漢字を かきます。", "ja")
    (other,) = model.speak("漢字を かきます。", "ja", speaker="en-f1")
    assert len(japanese) > 20 and not np.array_equal(japanese.mel[:20], other.mel[:20])
    first = next(model.speak("A tall man sings. ... !"))
    np.testing.assert_array_equal(first.mel, parts[0].mel)


def test_a_recording_is_said_again_at_its_own_times(place, tmp_path):
    run = place[1]
    assert main(["frames", str(run), "--folder", "made", "--out", str(tmp_path / "again")]) == 0
    files = sorted((tmp_path / "again").rglob("*.npz"))
    assert [str(f.relative_to(tmp_path / "again")) for f in files] == [
        f"{voice}/{i:04d}.npz" for voice in ("en-f1", "ja-f1") for i in range(4)
    ]
    task = make_task(checkpoint.load_config_of(run), checkpoint.facts(run))
    for recording in task.corpus.train:
        said = frames.load((tmp_path / "again" / recording.name).with_suffix(".npz"), FrameSettings(bands=20))
        real = recording.frames()
        assert len(said) == len(real)
        assert np.abs(said.mel - real.mel).mean() < np.abs(real.mel.mean(0) - real.mel).mean()


def test_the_console_speaks(place, tmp_path, capsys):
    folder, run = place
    words = ["speak", str(run), "A tall man sings. And so on.", "--out"]
    assert main([*words, str(tmp_path / "a.npz"), "--pitch", "1.2"]) == 0
    told = capsys.readouterr().out
    assert "20 mel bands from 0 to 8000 Hz" in told
    whole = frames.load(tmp_path / "a.npz")
    assert main([*words, str(tmp_path / "a.wav")]) == 0
    sound, rate = soundfile.read(tmp_path / "a.wav")
    assert rate == 16_000 and len(sound) == whole.samples and 0.01 < np.abs(sound).max() <= 1
    for wrong, told in (
        ([*words, "a.mp3"], "--out 'a.mp3': expected a name that ends in .npz, .wav or .flac"),
        ([*words, "a.wav", "--pitch", "2"], "--pitch 2: Griffin-Lim sounds the spectrum, not F0"),
        ([*words, "a.npz", "--speed", "9"], "speed 9: expected 0.25 to 4"),
        ([*words, "a.npz", "--language", "de"], "learned en, ja; expected one of these"),
        (
            [*words, "a.npz", "--speaker", "en-f2"],
            "speaker 'en-f2': expected one of en-f1, ja-f1. Did you mean 'en-f1'?",
        ),
        (["speak", str(run), "...", "--out", "a.wav"], "eSpeak NG can say nothing of '...' in 'en-us'"),
        (["sample", str(run)], "learned neither text nor sound"),
        (["frames", str(run), "--folder", "none"], "--folder 'none' does not exist; expected a folder of recordings"),
        (["frames", str(run), "--folder", "runs"], "--folder 'runs': none of 0 recordings has phones that can be used"),
    ):
        assert main(wrong) == 2
        err = capsys.readouterr().err
        assert told in err and err.count("\n") == 1
    assert not (folder / "a.wav").exists()


def test_a_run_that_goes_on_has_never_stopped(place, tmp_path):
    """Weights, running means and what the data were when it began come back."""
    folder, _ = place
    shutil.copytree(folder / "made", tmp_path / "made")
    config = settings(tmp_path / "made", "training.steps=4", "training.validate_every_steps=2", "model.dropout=0.3")
    whole, broken = (create_run(tmp_path, name, "name: x\n") for name in ("whole", "broken"))
    alone, kept = Worker(0, 1, torch.device("cpu")), []

    def keep(row, write):
        kept.append(broken / f"checkpoint_{len(kept)}")
        kept[-1].mkdir()
        write(kept[-1])

    learn(config, whole, alone, None, keep)
    shutil.rmtree(tmp_path / "made" / "ja-f1")  # less to learn from since: phones and speakers keep their numbers
    learn(config, broken, alone, kept[0], keep)
    assert json.loads((kept[2] / "facts.json").read_text()) == json.loads((kept[0] / "facts.json").read_text())
    learn(settings(folder / "made", *("training.steps=4", "training.validate_every_steps=2", "model.dropout=0.3")),
          broken, alone, kept[0], keep)  # fmt: skip
    straight, again = (load_file(kept[k] / "training.safetensors") for k in (1, 3))
    assert straight.keys() == again.keys() and all(torch.equal(straight[name], again[name]) for name in straight)
    assert straight["said_square"].shape == (21,) and not torch.equal(straight["said_mean"], torch.zeros(21))


def test_workers_share_a_batch(place):
    """The gradients of two shares add up to that of the whole, though each has frames of its own number."""
    folder, _ = place
    config = settings(folder / "made", "training.batch=4", "model.dropout=0")
    task = make_task(config)
    batch = task.batch(0)
    counted = int(batch.counted.sum())
    gradients = []
    for rows_of in (slice(0, 4), slice(0, 1), slice(1, 4)):
        network = build(config.model, task.shape, 0)
        share = batch.rows(rows_of)
        outputs, _ = network(*share.given(None))
        (task.cost(outputs, share).sum() / counted).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    torch.testing.assert_close(gradients[1] + gradients[2], gradients[0], rtol=1e-4, atol=1e-6)


def test_an_epoch_has_every_recording(place):
    folder, _ = place
    task = make_task(settings(folder / "made", "training.batch=2"))
    train = task.corpus.train
    each = -(-len(train) // 2)
    drawn = [i for step in range(each) for i in task._order(0)[step]]
    assert set(drawn) == set(range(len(train))) and len(drawn) == 2 * each and task._order(1) != task._order(0)
    batch = task.batch(0)
    for row, i in enumerate(task._order(0)[0]):
        recording = train[i]
        assert batch.lengths[row] == len(recording.aligned.tokens) and batch.counted[row].sum() == recording.count
        assert batch.durations[row].sum() == recording.count
        np.testing.assert_array_equal(batch.targets[row, : recording.count], task.scale.normalised(recording.frames()))
    held = list(task.validation())
    assert sum(int(b.counted.sum()) for b in held) == sum(r.count for r in task.corpus.validation)


def test_the_spread_of_a_voice_is_that_of_its_phones(place):
    folder, _ = place
    task = make_task(settings(folder / "made"))
    heard = []
    for recording in task.corpus.train:
        ends = np.cumsum(recording.durations)
        for token, first, end in zip(recording.aligned.tokens, ends - recording.durations, ends, strict=True):
            if not token.boundary:
                heard.append(task.scale.normalised(recording.frames())[first:end])
    heard = np.concatenate(heard)
    found = spoken_spread(task.corpus.train, task.scale)
    np.testing.assert_allclose(found[:-1], heard[:, :-2].std(0), rtol=1e-4)
    np.testing.assert_allclose(found[-1], heard[heard[:, -1] == 1, -2].std(), rtol=1e-4)


def test_scores_of_frames_that_are_known(place):
    folder, _ = place
    task = make_task(settings(folder / "made"))
    recording = task.corpus.validation[0]
    real = task.scale.normalised(recording.frames()).astype(np.float64)
    logs = np.log1p(recording.durations)
    perfect, shifted = Score(), Score()
    perfect.add(task, recording, (real, logs))
    assert perfect.figures() == pytest.approx(
        {"F0, cents": 0, "voicing": 0, "phones, ms": 0, "mel, dB": 0, "spread": 1}, abs=0.05
    )
    moved = real.copy()
    moved[:, -2] += math.log(2) / task.scale.spread[-1]
    moved[: len(moved) // 2, -1] = 1 - moved[: len(moved) // 2, -1]
    moved[:, :-2] *= 0.5
    shifted.add(task, recording, (moved, np.log1p(recording.durations + 3)))
    found = shifted.figures()
    assert found["F0, cents"] == pytest.approx(1_200, rel=1e-3)
    assert found["voicing"] == pytest.approx(0.5, abs=0.01) and found["phones, ms"] == pytest.approx(30)
    assert found["mel, dB"] > 1 and found["spread"] == pytest.approx(0.5)


def test_a_linear_map_finds_what_is_linear(place):
    """Trained on the recordings that it is asked for, it is nearer than means, and no further from durations."""
    folder, _ = place
    task = make_task(settings(folder / "made"))
    said = simpler(task)
    score = {name: Score() for name in said}
    for name, says in said.items():
        for recording in task.corpus.train:
            score[name].add(task, recording, says(recording))
    linear, mean = (score[name].figures() for name in ("linear map", "mean"))
    assert all(linear[name] < mean[name] for name in ("F0, cents", "voicing", "phones, ms", "mel, dB"))
    assert mean["spread"] == 0


def test_export_gives_the_same_numbers_in_another_program(place, tmp_path, capsys):
    run = place[1]
    assert main(["export", str(run), "--out", str(tmp_path / "files")]) == 0
    model = Acoustic(run)
    inputs = model.inputs(spoken("My little sister sings in the garden.", "en"), "en", "en-f1")[None]
    phones, others = (onnxruntime.InferenceSession(tmp_path / "files" / name) for name in (PHONES, FRAMES))
    log_durations, known = phones.run(None, {"inputs": inputs})
    with torch.inference_mode():
        own = model.network(torch.from_numpy(inputs), torch.ones(1, inputs.shape[1], dtype=torch.int64))[0]
        np.testing.assert_allclose(log_durations, own.log_durations, atol=1e-4)
        places = np.arange(inputs.shape[1])[None]  # one frame of each token
        within = np.tile(np.float32([0.5, 0, 0, math.log(2) / 3]), (1, inputs.shape[1], 1))
        found = others.run(None, {"known": known, "places": places, "within": within})[0]
        np.testing.assert_allclose(found[0], model.correct(own.frames[0]), atol=1e-4)
    notes = json.loads((tmp_path / "files" / "acoustic.json").read_text())
    assert notes["phones.onnx"]["inputs"][2] == inputs.shape[2] and notes["settings"]["bands"] == 20


def test_runs_that_say_no_frames(place, tmp_path, monkeypatch):
    run = place[1]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.yaml").write_text("name: x\n")
    (tmp_path / "other" / "run.json").write_text('{"trainer": "apex-ray"}')
    with pytest.raises(UserError, match="is of apex-ray, which says no frames; expected one of apex-lstm"):
        acoustic.open_acoustic(tmp_path / "other")
    monkeypatch.setattr(checkpoint, "network_of", lambda config, shape: torch.nn.Linear(1, 1))
    monkeypatch.setattr("trainkit.checkpoints.load_weights", lambda network, folder: None)
    with pytest.raises(UserError, match="did not learn speech; expected one of apex-lstm train speech"):
        checkpoint.load_acoustic(run)
    with pytest.raises(UserError, match="learned speech; expected apex-lstm speak"):
        checkpoint.load_network(run)


def test_a_phone_that_was_never_learned_is_known(place):
    model = Acoustic(place[1])
    next(model.speak("A tall man sings."))
    assert not model.strange
    model.inputs.vocabulary = model.inputs.vocabulary[:5]
    next(model.speak("A tall man sings."))
    assert "m" in model.strange and "_" not in model.strange


def test_frames_that_cannot_be_kept_end_a_run(place, tmp_path, monkeypatch, capsys):
    """They would be made anew for each batch."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("APEX_CACHE", str(tmp_path / "file"))
    assert main(["train", "speech", f"speech.folder={place[0] / 'made'}"]) == 2
    assert "can't be written, where frames are kept: Not a directory; expected room" in capsys.readouterr().err


def test_corpora_that_are_none(place, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for given, told in (
        (tmp_path / "none", "does not exist; expected a folder of recordings with their phones"),
        (tmp_path / "empty", "has 0 usable recordings of 0"),
    ):
        assert main(["train", "speech", f"speech.folder={given}"]) == 2
        assert told in capsys.readouterr().err
    assert main(["config", "speech", "speech.folder=x", "speech.frames.bnads=3"]) == 2
    assert "bands" in capsys.readouterr().err


def test_phones_begin_when_the_durations_before_them_are_over():
    said = [Token("_"), Token("h", length=2), Token("oU", stress=1, place=1, length=2), Token("_", mark=".")]
    assert starts(said, [0, 3, 5, 2], 0.01) == ((0.0, "h"), (0.03, "'oU"), (pytest.approx(0.08), "_"))
    assert starts(said, [4, 1, 1, 0], 0.01) == ((0.0, "_"), (0.04, "h"), (0.05, "'oU"))
