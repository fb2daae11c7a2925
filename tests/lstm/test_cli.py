"""`apex-lstm` from a file to a result: one run on real Ray, the rest in this process; and the mistakes on the way."""

import io
import json
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from cluster.data_parallel import SEEN, Worker
from lstm.cli import COMMANDS, main
from lstm.config import PRESETS
from lstm.evaluation import too_narrow
from lstm.forecasting import Score
from lstm.plots import fan
from lstm.tasks.text import coded, spelled
from lstm.train import early_end, learn, train_here
from trainkit.checkpoints import updates
from trainkit.config import to_yaml
from trainkit.errors import UserError
from trainkit.mu_law import decode, encode
from trainkit.run_layout import STOP_FILE
from trainkit.runs import create_run

TEXT = "the cat sat on the mat. the dog sat on the cat. "
TINY = ("model.hidden=16", "model.embedding=8", "training.batch=4", "training.report_every_steps=5",
        "training.warmup_steps=0")  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "book.txt").write_text(TEXT * 60)
    (tmp_path / "latin.txt").write_bytes(("caf\u00e9 " * 500).encode("latin-1"))
    times = pd.date_range("2000-01-01", periods=90, freq="MS")
    pd.DataFrame({"date": times, "y": np.sin(np.arange(90) / 2)}).to_csv(tmp_path / "series.csv", index=False)
    (tmp_path / "sound").mkdir()
    soundfile.write(tmp_path / "sound" / "a.wav", 0.4 * np.sin(np.arange(8_000) / 9), 8_000)
    (tmp_path / "sound" / "b.wav").write_bytes(b"no")
    return tmp_path


def rows(run):
    return [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]


def started(preset, *words):
    config = PRESETS.load(preset, [*TINY, *words]).config
    return config, create_run("runs", config.name, "name: x\n")


@pytest.mark.timeout(240)
def test_two_workers_learn_a_text_and_the_run_writes_it_on(folder, capsys):
    words = ("text.path=book.txt", "text.chunk=16", "training.steps=200", "training.validate_every_steps=100")
    assert main(["train", "text", *TINY, *words, "workers.count=2", "training.learning_rate=2e-2"]) == 0
    out = capsys.readouterr().out
    assert "2,880 characters, 13 different; the last 288 held out" in out and "nats/character, best" in out
    (run,) = (folder / "runs").iterdir()
    seen = rows(run)
    assert set(range(5, 201, 5)) <= {row["step"] for row in seen if "loss" in row}  # and others where time passed
    assert "finished after 200 updates\n" in out and out.count(f" evaluate runs/{run.name}") == 1
    assert out.count(f" sample runs/{run.name}") == 1
    assert {row["workers"] for row in seen if "loss" in row} == {2}
    assert seen[-1]["validation_loss"] < 0.6, "it knows the two sentences by heart, or nearly"
    assert main(["evaluate", str(run)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("LSTM") and "frequencies" in out and "xz" in out and "bits" in out
    assert main(["sample", str(run), "--length", "60", "--prompt", "the c", "--temperature", "0"]) == 0
    assert capsys.readouterr().out.startswith("the cat sat on the")
    assert main(["sample", str(run), "--prompt", "Z"]) == 2
    assert "--prompt: 'Z' is not among the 13 characters that were learned" in capsys.readouterr().err


def test_one_seed_is_one_run_with_dropout_too(folder):
    words = ("text.path=book.txt", "text.chunk=16", "training.steps=4", "model.dropout=0.5", "model.layers=2")
    found = []
    for seed in (1, 1, 2):
        torch.rand(1)  # whatever was drawn before
        config, run = started("text", *words, f"seed={seed}")
        train_here(config, run)
        found.append(load_file(run / "checkpoint_newest" / "training.safetensors"))
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())
    assert not all(torch.equal(value, found[2][name]) for name, value in found[0].items())


def test_a_run_that_goes_on_has_never_stopped(folder):
    """Weights, Adam's moments and the carried state of every stream come back."""
    config, whole = started("text", "text.path=book.txt", "text.chunk=16", "training.steps=6",
                            "training.validate_every_steps=3")  # fmt: skip
    _, broken = started("text", "text.path=book.txt")
    alone = Worker(0, 1, torch.device("cpu"))
    kept = []

    def keep(row, write):
        kept.append(broken / f"checkpoint_{len(kept)}")
        kept[-1].mkdir()
        write(kept[-1])

    learn(config, whole, alone, None, keep)
    learn(config, broken, alone, kept[0], keep)
    straight, again = (load_file(kept[k] / "training.safetensors") for k in (1, 2))
    assert straight.keys() == again.keys() and all(torch.equal(straight[name], again[name]) for name in straight)
    assert load_file(kept[0] / "state.safetensors")["0"].shape == (1, 4, 16)


def test_a_run_that_is_asked_to_stop_goes_on_as_if_it_had_not(folder, monkeypatch):
    monkeypatch.setattr("cluster.data_parallel.LOOK_S", 0.0)
    config, run = started("text", "text.path=book.txt", "text.chunk=16", "training.steps=4",
                          "training.validate_every_steps=2")  # fmt: skip
    _, whole = started("text", "text.path=book.txt")
    newest = run / "checkpoint_newest"
    (run / STOP_FILE).touch()
    train_here(config, run)
    assert (run / STOP_FILE).read_text() == SEEN and updates(run) == 1 and not rows(run)
    stopped = load_file(newest / "training.safetensors")
    assert all(torch.equal(p, stopped[name]) for name, p in load_file(newest / "weights.safetensors").items())
    (run / STOP_FILE).unlink()
    learn(config, run, Worker(0, 1, torch.device("cpu")), newest.rename(run / "checkpoint_1"), lambda *_: None)
    train_here(config, whole)
    validations = [[row for row in rows(r) if "validation_loss" in row] for r in (run, whole)]
    assert validations[0] == validations[1] and [row["step"] for row in validations[0]] == [2, 4]


def test_a_forecast_from_file_to_file(folder, capsys):
    config, run = started("forecast", "forecast.path=series.csv", "training.steps=20", "forecast.context=12",
                          "forecast.validation=12", "forecast.test=12", "training.validate_every_steps=10")  # fmt: skip
    train_here(config, run)
    assert main(["evaluate", str(run)]) == 0
    assert "MASE" in (out := capsys.readouterr().out) and "in 80%" in out
    newer = pd.DataFrame({"date": pd.date_range("2005-01-01", periods=60, freq="MS"), "y": np.arange(60.0)})
    newer.to_csv("newer.csv", index=False)
    assert main(["forecast", str(run), "--data", "newer.csv", "--out", "new/folder/f.parquet"]) == 0
    said = pd.read_parquet("new/folder/f.parquet")
    assert list(said.columns) == ["series", "date", "q0.1", "q0.5", "q0.9"] and len(said) == 12
    assert said["date"][0] == pd.Timestamp("2010-01-01") and (folder / "new/folder/f.png").stat().st_size > 5_000
    assert main(["evaluate", str(run), "--also", str(run)]) == 0 and "MASE" in capsys.readouterr().out
    _, shorter = started("forecast", "forecast.path=series.csv")
    train_here(config.model_copy(update={"forecast": config.forecast.model_copy(update={"horizon": 2})}), shorter)
    assert main(["forecast", str(run), "--also", str(shorter)]) == 2
    assert "learned another forecast than" in (told := capsys.readouterr().err) and ": horizon" in told
    assert main(["forecast", str(run), "--out", "f.xls"]) == 2
    assert "ends in .csv or .parquet" in capsys.readouterr().err
    assert main(["sample", str(run)]) == 2
    assert "learned neither text nor sound" in capsys.readouterr().err


def test_text_without_a_line_end_goes_on_from_its_own_beginning(folder, capsys):
    config, run = started("text", "text.path=book.txt", "text.chunk=16", "training.steps=2")
    train_here(config, run)
    assert main(["sample", str(run), "--length", "20"]) == 0
    assert len(capsys.readouterr().out.rstrip("\n")) <= 20
    assert main(["sample", str(run), "--length", "5", "--prompt", "t", "--temperature", "1e-45"]) == 0
    assert main(["sample", str(run), "--length", "5", "--prompt", "t", "--out", "new/folder/x.txt"]) == 0
    assert len((folder / "new/folder/x.txt").read_text()) == 7
    capsys.readouterr()
    for option, value, told in (
        ("--temperature", "nan", "--temperature nan: expected a number of 0 or more"),
        ("--temperature", "inf", "--temperature inf: expected"),
        ("--temperature", "-1", "--temperature -1: expected"),
        ("--seed", "-1", "--seed -1: expected 0 to 2^63 - 1"),
        ("--prompt", "", "--prompt is empty"),
        ("--out", "new", "--out 'new' can't be written: Is a directory"),
        ("--out", "book.txt/x.txt", "--out 'book.txt/x.txt' can't be written"),
    ):
        assert main(["sample", str(run), "--length", "5", option, value]) == 2
        err = capsys.readouterr().err
        assert told in err and err.count("\n") == 1


def test_a_terminal_that_knows_few_characters(folder, monkeypatch):
    """As with PYTHONIOENCODING=ascii."""
    (folder / "book.txt").write_text("caf\u00e9 \u2713 " * 300)
    config, run = started("text", "text.path=book.txt", "text.chunk=16", "training.steps=1")
    train_here(config, run)
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["sample", str(run), "--prompt", "caf\u00e9", "--length", "5"]) == 0
    assert out.buffer.getvalue().startswith(b"caf\\xe9")


def test_an_interval_that_holds_too_little_is_warned_of():
    scores = {n: Score(3, 1.0, 1.0, 1.0, 1.0, {"80%": held, "50%": 0.45}) for n, held in (("a", 0.4), ("b", 0.5))}
    (told,) = too_narrow(scores)
    assert told.startswith("warning: the 80% interval held 45.0% of the test's values")


def test_a_picture_of_a_forecast_says_what_its_axes_are():
    said = np.tile([-1.0, 0.0, 1.0], (2, 1))
    for times, label in (
        (pd.date_range("2000-01-01", periods=3), "time"),
        (np.arange(3), "step, 1: the first to come"),
    ):
        figure = fan({"sales": (times, np.zeros(3))}, {"sales": (times[:2], said)}, {}, levels=(0.1, 0.5, 0.9))
        (axes,) = figure.axes
        assert (axes.get_xlabel(), axes.get_ylabel()) == (label, "sales")
        assert "0.1 to 0.9" in [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize("levels", [(0.5, 0.9), (0.1, 0.5), (0.1, 0.5, 0.6, 0.9), (0.1, 0.2, 0.3, 0.5)])
def test_the_median_of_a_picture_is_the_median(levels):
    times = np.arange(3)
    (axes,) = fan({"a": (times, np.zeros(3))}, {"a": (times, np.tile(levels, (3, 1)))}, {}, levels=levels).axes
    (line,) = [line for line in axes.get_lines() if line.get_label() == "forecast: median"]
    assert set(line.get_ydata()) == {0.5}
    assert f"{levels[0]:g} to {levels[-1]:g}" in [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_each_argument_is(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    text = " ".join(capsys.readouterr().out.replace("\u2502", " ").split())
    assert ended.value.code == 0 and "] words" not in text and "RUN run" not in text


def test_sound_from_folder_to_file(folder, capsys):
    config, run = started("audio", "audio.folder=sound", "audio.chunk=64", "training.steps=10",
                          "training.validate_every_steps=5")  # fmt: skip
    train_here(config, run)
    assert main(["sample", str(run), "--length", "400", "--out", "made.wav"]) == 0
    made, rate = soundfile.read("made.wav")
    assert (len(made), rate) == (400, 8_000)
    assert main(["sample", str(run), "--out", "made.mp3"]) == 2
    assert "ends in .wav or .flac" in capsys.readouterr().err


def test_checkpoint_files_that_break_off(folder, capsys):
    """Each is named, with what to do; --resume tells before any worker starts."""
    config, run = started("text", "text.path=book.txt", "text.chunk=16", "training.steps=2")
    train_here(config, run)
    (run / "config.yaml").write_text(to_yaml(config))
    newest = run / "checkpoint_newest"
    assert main(["sample", str(run), "--length", "5", "--prompt", "t"]) == 0
    capsys.readouterr()
    resume, use = ["train", "--resume", str(run), "training.steps=4"], ["sample", str(run)]
    remove, none = "remove the folder 'checkpoint_newest'", "no checkpoint that can be used to go on from"
    for file, command, told in (
        ("weights.safetensors", use, ("weights.safetensors' is broken (", remove)),
        ("facts.json", use, ("facts.json' is broken (", remove)),
        ("optimizer.safetensors", resume, (none, "checkpoint_newest: optimizer.safetensors")),
    ):
        whole = (newest / file).read_bytes()
        (newest / file).write_bytes(whole[: len(whole) // 2])
        assert main(command) == 2
        err = capsys.readouterr().err
        assert all(part in err for part in told) and err.count("\n") == 1
        (newest / file).write_bytes(whole)
    for file in ("training.safetensors", "state.safetensors", "optimizer.safetensors"):
        whole = (newest / file).read_bytes()
        (newest / file).write_bytes(whole[:-1])
        with pytest.raises(UserError, match=f"{file}' is broken"):
            learn(config, run, Worker(0, 1, torch.device("cpu")), newest, lambda *_: None)
        (newest / file).write_bytes(whole)
    (newest / "config.yaml").unlink()
    assert main(["sample", str(run)]) == 2
    assert "has no whole checkpoint: checkpoint_newest lacks config.yaml" in capsys.readouterr().err


def test_early_stopping_and_a_limit_of_time(folder):
    config, run = started("adding", "adding.steps=8", "training.steps=100000", "training.patience=2",
                          "training.validate_every_steps=2", "training.learning_rate=1e-30")  # fmt: skip
    best = train_here(config, run)
    last = rows(run)[-1]
    assert last["step"] < 1_000 and last["best_loss"] == best
    assert early_end(run, config.training) == (
        " of 100,000: the last 2 validations were no better than the best (training.patience)"
    )
    config, run = started("adding", "adding.steps=8", "training.steps=100000", "training.stop_after_s=0.3")
    train_here(config, run)
    assert rows(run)[-1]["step"] < 100_000 and "validation_loss" in rows(run)[-1]
    assert early_end(run, config.training) == " of 100,000: 0.3 s are over (training.stop_after_s)"


def test_the_memory_command(folder, capsys):
    words = ("--steps", "12", "--updates", "5", "--hidden", "4", "--batch", "4", "--show-gates", "--out", "m")
    assert main(["memory", *words]) == 0
    assert "gradient at lag" in capsys.readouterr().out
    figures = json.loads((folder / "m" / "memory.json").read_text())
    assert set(figures["squared error"]) == {"LSTM", "plain"}
    assert {p.name for p in (folder / "m").iterdir()} == {"memory.json", "gradients.png", "learning.png", "gates.png"}


def test_a_learning_rate_is_found(folder, capsys):
    assert main(["find-rate", "adding", "adding.steps=10", *TINY, "--updates", "20", "--out", "r.png"]) == 0
    assert "training.learning_rate=" in capsys.readouterr().out and (folder / "r.png").exists()


def test_mu_law_there_and_back():
    sound = np.linspace(-1, 1, 999)
    codes = encode(sound)
    assert codes.min() == 0 and codes.max() == 255 and encode(np.zeros(1))[0] == 128
    assert np.abs(decode(codes) - sound).max() < 0.05
    assert np.array_equal(encode(decode(np.arange(256))), np.arange(256)), "every code is its own"


def test_codes_of_text():
    assert spelled(coded("abba", "ab"), "ab") == "abba"
    assert spelled(coded("caf\u00e9", ""), "") == "caf\u00e9"
    with pytest.raises(UserError, match="'c' is not among the 2"):
        coded("abc", "ab")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train"], "no preset; expected one of"),
        (["train", "text"], "text.path"),
        (["train", "--resume", "x", "training.batch=8"], "workers.KEY=VALUE (but not training.batch), got"),
        (["train", "text", "text.path=bok.txt"], "does not exist; expected a text file or a folder"),
        (["train", "text", "text.path=latin.txt"], "byte 0xe9 on line 1 is not utf-8; set text.encoding"),
        (["train", "text", "text.path=book.txt", "text.encoding=utf8x"], "is unknown"),
        (["train", "text", "text.path=book.txt", "text.chunk=9999"], "has 2,880 characters; expected at least"),
        (["train", "text", "text.path=book.txt", "model.hiden=3"], "Did you mean 'model.hidden'?"),
        (["train", "audio", "audio.folder=nowhere"], "does not exist"),
        (["train", "audio", "audio.folder=sound", "audio.chunk=4000"], "(skipped: b.wav"),
        (["train", "forecast", "forecast.path=series.csv", "forecast.horizon=80"], "forecast"),
        (["train", "adding", "workers.count=64"], "training.batch 32 has no sequence"),
        (["config", "adding", "workers.count=[3, 2]"], "workers: count [3, 2] asks for at least 3 and at most 2"),
        (["train", "adding", "model.cell=rnn", "model.peepholes=true"], "cell rnn has no peepholes"),
        (["train", "adding", "text.path=book.txt"], "adding and text set; expected one of"),
        (["sweep", "adding"], "nothing to draw"),
        (["sweep", "adding", "training.learning_rate=1..x"], "expected two numbers"),
        (["evaluate", "runs/none"], "does not exist"),
        (["sample", "x", "--length", "0"], "expected at least 1"),
        (["memory", "--updates", "0"], "expected at least 1"),
        (["trian"], "Did you mean 'train'?"),
    ],
)  # fmt: skip
def test_a_wrong_command_line_exits_2_with_one_line(capsys, words, told):
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and told in err and "Traceback" not in err and err.count("\n") == 1


def test_presets_load_and_are_listed(capsys):
    needs = {"text": ["text.path=x"], "audio": ["audio.folder=x"], "forecast": ["forecast.path=x"],
             "prices": ["forecast.path=x"], "speech": ["speech.folder=x"]}  # fmt: skip
    for preset in PRESETS.names():
        assert main(["config", preset, *needs.get(preset, [])]) == 0
    assert "model.hidden" in capsys.readouterr().out and {"train", "forecast", "memory"} <= set(COMMANDS)
