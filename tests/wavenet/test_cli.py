"""`apex-wavenet` from a folder to a file of sound, on real Ray, and the mistakes on the way."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import soundfile

from trainkit.checkpoints import newest
from wavenet.cli import COMMANDS, main
from wavenet.config import PRESETS

TINY = (
    "small", "model.cycles=1", "model.layers_per_cycle=4", "model.residual=16", "model.skip=16", "model.head=16",
    "training.batch=4", "training.segment_samples=400", "training.report_every_steps=5", "training.excerpt_s=0",
    "data.speakers=folder",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("APEX_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    t = np.arange(8_000) / 16_000
    for speaker, hz in (("low", 220), ("high", 880)):
        (tmp_path / "sound" / speaker).mkdir(parents=True)
        for i in range(3):
            sound = 0.4 * np.sin(2 * np.pi * hz * t + i)
            soundfile.write(tmp_path / "sound" / speaker / f"{i}.wav", sound, 16_000)
    (tmp_path / "sound" / "broken.wav").write_bytes(b"no")
    return tmp_path / "sound"


def start(*words):
    command = [sys.executable, "-m", "wavenet.cli", "train", *TINY, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def rows(run):
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(text) for text in lines if text.endswith("\n")]  # one may be half written


@pytest.mark.timeout(300)
def test_a_killed_worker_and_ctrl_c_cost_no_step_and_the_run_makes_sound(folder, tmp_path, capsysbinary):
    endless = "training.steps=1000000"  # a fast machine must not come to the end before the signals
    run = start("data.folder=sound", endless, "training.validate_every_steps=50", "workers.count=[2, 2]")
    while not any(row["step"] >= 50 for folder in tmp_path.glob("runs/*") for row in rows(folder)):
        assert run.poll() is None
        time.sleep(0.05)
    for process in psutil.Process(run.pid).children(recursive=True):
        if "RayTrainWorker" in " ".join(process.cmdline()):
            process.send_signal(signal.SIGKILL)
            break
    else:
        pytest.fail("no worker found")
    (folder_of,) = (tmp_path / "runs").iterdir()
    while not any(row["step"] >= 110 for row in rows(folder_of)):
        assert run.poll() is None
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    told, _ = run.communicate(timeout=100)
    assert run.returncode == 130, told
    assert "skipped: broken.wav can't be read" in told and "2 speakers" in told
    before = [row["step"] for row in rows(folder_of) if "bits" in row]
    assert before == list(range(5, before[-1] + 1, 5)) and before[-1] >= 110, told
    assert f"stopped with {newest(folder_of).name}; go on with train --resume runs/{folder_of.name}" in told
    end = before[-1] + 25
    assert main(["train", "--resume", str(folder_of), f"training.steps={end}"]) == 0
    told = capsysbinary.readouterr().out.decode()
    (folder,) = (tmp_path / "runs").iterdir()
    steps = [row["step"] for row in rows(folder) if "bits" in row]
    assert steps == list(range(5, end + 1, 5)), "each once, and on to the new end"
    assert {row["workers"] for row in rows(folder) if "bits" in row} == {2}
    assert f"{end:,} of {end:,}  bits" in told
    assert f"finished after {end:,} updates\n" in told and told.count(f" evaluate {folder_of}") == 1
    assert told.count(f" generate {folder_of}") == 1
    assert main(["train", "--resume", str(folder_of)]) == 2
    assert f"has made {end:,} updates; to go on, give training.steps" in capsysbinary.readouterr().err.decode()
    # The two newest; also one that the killed worker had written and not yet told of, and one about to be deleted.
    assert 2 <= len(list(folder.glob("checkpoint_*"))) <= 4, "old ones are deleted"
    assert main(["generate", str(folder), "--seconds", "0.2", "--out", "made.flac", "--speaker", "high"]) == 0
    made, rate = soundfile.read("made.flac")
    assert (len(made), rate) == (3_200, 16_000) and (tmp_path / "made.png").stat().st_size > 5_000
    capsysbinary.readouterr()
    assert main(["generate", str(folder), "--seconds", "0.2", "--out", "-", "--prime", "sound/low/1.wav"]) == 0
    raw, told = capsysbinary.readouterr()
    assert len(raw) == 6_400 and b"x real time" in told
    assert main(["evaluate", str(folder)]) == 0
    out = capsysbinary.readouterr().out
    assert out.startswith(b"WaveNet") and b"FLAC" in out and b"linear predictor" in out
    assert main(["generate", str(folder), "--speaker", "hihg"]) == 2
    assert b"expected one of high, low. Did you mean 'high'?" in capsysbinary.readouterr().err
    assert main(["generate", str(folder), "--out", "x.mp3"]) == 2
    assert b"ends in .wav or .flac" in capsysbinary.readouterr().err


@pytest.mark.timeout(180)
def test_a_mistake_in_a_worker_ends_the_run_at_once(folder):
    run = start("data.folder=sound", "training.steps=20", "training.learning_rate=1.0e+30", "training.warmup_steps=0")
    told, _ = run.communicate(timeout=150)
    assert run.returncode == 2, told
    assert told.splitlines()[-1].startswith("error: bits became") and "Traceback" not in told
    assert told.count("error: ") == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train"], "no preset; expected one of folder, piano, small"),
        (["train", "small"], "data.folder"),
        (["train", "small", "data.folder=nowhere"], "data.folder = 'nowhere' does not exist"),
        (["train", "small", "data.folder=sound", "model.residul=3"], "Did you mean 'model.residual'?"),
        (["train", "small", "data.folder=sound", "model.speakers=3"], "expected folder"),
        (["generate", "runs/none"], "does not exist"),
        (["trian"], "Did you mean 'train'?"),
        (["train", "--resume", "x", "model.skip=8"], "training.KEY=VALUE or workers.KEY=VALUE, got 'model.skip=8'"),
        (["train", "--resume", "x", "small"], "got 'small'"),
        (["train", "small", "data.folder=sound", "workers.count=[2,5]"], "training.batch 4 has no crop for some of"),
        (["train", "small", "data.folder=sound", "model.local_features=4"], "data.conditions = none"),
        (["train", "small", "data.folder=sound", "data.conditions=mel", "model.upsampling=[]"], "upsampling is empty"),
        (["generate", "x", "--seconds", "0"], "expected at least 0.001"),
        (["generate", "x", "--seconds", "nan"], "expected at least 0.001"),
        (["generate", "x", "--seed", "-1"], "--seed -1: expected at least 0"),
        (["generate", "x", "--seconds", "x"], "--seconds x: expected a number"),
        (["generate", "x", "--second", "3"], "generate has no option '--second'"),
        (["train", "small", "--frm", "x"], "expected one of --resume, --from. Did you mean '--from'?"),
        (["data", "speech", "--sentence", "3"], "--sentence"),
        (["data"], "speech"),
    ],
)
def test_a_wrong_command_line_exits_2_with_one_line(folder, capsys, words, told):
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and told in err and "Traceback" not in err and err.count("\n") == 1


@pytest.mark.parametrize("command", ["train", "generate", "speak", "evaluate", "config"])
def test_help_says_what_each_word_is_for(capsys, command):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    for line in capsys.readouterr().out.splitlines():
        said = line.strip("│ ").split("  ")
        assert said[-1].strip() not in ("words", "run (required)", "text (required)"), line
        assert not said[-1].strip().startswith("(default"), line


def test_presets_load_and_are_listed(capsys):
    for preset in PRESETS.names():
        PRESETS.load(preset, ["data.folder=x"])
        assert main(["config", preset, "data.folder=x"]) == 0
    assert "model.residual" in capsys.readouterr().out and {"train", "speak", "data"} <= set(COMMANDS)
