"""The command line: each mistake is one clear message and exit code 2, without a traceback or a heavy import."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from apex_ray.cli import main
from apex_ray.config.load import load
from apex_ray.types import EvaluationResult
from trainkit.config import to_yaml
from trainkit.errors import UserError
from trainkit.runs import create_run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return create_run("runs", "pong", to_yaml(load("pong").config))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the command line asked of training and evaluation, which do not run here."""
    made: list[Any] = []

    def train(config: Any, run: Path | None, resume: bool) -> Any:
        made.append((config, run, resume))
        ended = {"interrupted": config.name == "interrupted", "to_go_on": ["stop.after_s=9"]}
        return types.SimpleNamespace(run=run or Path("runs", "new"), **ended)

    def evaluate_run(run: Path, config: Any, checkpoint: str, episodes: int | None, video: Path | None) -> Any:
        made.append((run, config, checkpoint, episodes, video))
        return EvaluationResult(7, 7, 1234, [1.0, 3.0], [1, 1], human_normalised=0.5, video=video and str(video))

    monkeypatch.setitem(sys.modules, "apex_ray.run.training", types.SimpleNamespace(train=train))
    monkeypatch.setitem(sys.modules, "apex_ray.evaluation", types.SimpleNamespace(evaluate_run=evaluate_run))
    return made


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "train pong --bogus 3",
            "train has no option '--bogus'; expected one of --roms, --demo, --resume. A setting is",
        ),
        ("evaluate", "RUN"),
        ("evaluate x --episodes many", "--episodes many: expected a whole number"),
        ("evaluate x --episodes", "--episodes"),
        (
            "evaluate x --episode 3",
            "evaluate has no option '--episode'; expected one of --episodes, --checkpoint. Did you",
        ),
        ("evaluate x --seed 3", "A setting is given as seed=VALUE, without dashes"),
        ("evaluate x --seed=3", "A setting is given as seed=VALUE, without dashes"),
        ("export latest --format onx", "'onx'"),
    ],
)
def test_misuse_of_options_is_one_line(capsys: pytest.CaptureFixture[str], line: str, says: str) -> None:
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert err.startswith("error: command line: ") and err.count("\n") == 1 and says in err and not out


def test_no_words_get_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert "evaluate" in out and not err


def test_train_starts_a_new_run_and_says_how_to_go_on(calls: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "pong", "actors.count=8", "name=mine"]) == 0
    [(config, folder, resume)] = calls
    assert config == load("pong", ["actors.count=8", "name=mine"]).config and not resume and folder is None
    assert "train --resume runs/new stop.after_s=9\n" in capsys.readouterr().out


def test_an_interrupted_run_exits_with_130(calls: list[Any]) -> None:
    assert main(["train", "pong", "name=interrupted"]) == 130


@pytest.mark.parametrize(
    "line", ["--resume {run} stop.after_s=9 report.every_s=4", "report.every_s=4 --resume {run} stop.after_s=9"]
)
def test_resume_takes_overrides_on_either_side(run: Path, calls: list[Any], line: str) -> None:
    assert main(["train", *line.format(run=run).split()]) == 0
    [(config, folder, resume)] = calls
    assert (config.stop.after_s, config.report.every_s, config.name) == (9.0, 4, "pong")
    assert folder == run and resume


def test_evaluate_and_record_report(run: Path, calls: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run), "--episodes", "3", "evaluation.epsilon=0", "--checkpoint=latest"]) == 0
    assert main(["record", str(run), "--out", "film.mp4"]) == 0
    first, second = calls
    assert first[0] == run and first[2:] == ("latest", 3, None) and first[1].evaluation.epsilon == 0
    assert second[2:] == ("best", 1, Path("film.mp4"))
    out = capsys.readouterr().out
    for part in (
        "mean 2.00, std 1.00, min 1.00, max 3.00 of 2 episodes",
        "1,234 emulator frames",
        "human-normalised: 50.0%",
        "video: film.mp4",
    ):
        assert part in out


def test_config_prints_values_and_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "pong", "learner.learning_rate=1e-3"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["learner.learning_rate", "=", "0.001", "#", "command", "line"] in lines
    assert any(line[0] == "td.discount" and line[-1].startswith("atari_paper.yaml:") for line in lines)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("apex-ray ")


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (UserError("no such game"), 2)])
def test_what_training_raises(
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
) -> None:
    def train(*_: object) -> int:
        raise error

    monkeypatch.setitem(sys.modules, "apex_ray.run.training", types.SimpleNamespace(train=train))
    assert main(["train", "pong"]) == code
    err = capsys.readouterr().err
    assert "Traceback" not in err and ("no such game" in err) == (code == 2)


def test_config_imports_neither_torch_nor_ray() -> None:
    program = (
        "import sys; from apex_ray.cli import main; code = main(['config', 'pong']);"
        "heavy = {'torch', 'ray', 'gymnasium'} & set(sys.modules); sys.exit(repr(heavy) if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
