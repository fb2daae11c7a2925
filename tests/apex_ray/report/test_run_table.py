"""apex-ray runs: each run of a folder as it is, damaged ones too."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from apex_ray.cli import main
from apex_ray.learner.checkpoint import save_best
from apex_ray.report.metrics import EVALUATION_COLUMNS
from apex_ray.report.run_table import listed
from apex_ray.run.training import train
from apex_ray.serial.program import SerialProgram
from apex_ray.types import Counters
from tests.apex_ray.runs import cartpole
from trainkit.errors import UserError
from trainkit.run_record import FINISHED, recorded


def made(name: str, state: str = FINISHED, env_id: str = "CartPole-v1", trainer: str = "apex-ray") -> Path:
    run = Path("runs", name)
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(f"env: {{id: {env_id}}}\n")
    with recorded(run, trainer) as ended:
        ended(state, "so it is")
    return run


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main(["runs"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("APEX_RUNS_DIR", raising=False)
    return tmp_path


def test_the_newest_is_first_and_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    made("a-20261126-120000", "interrupted")
    run = made("b-20261126-120001", env_id="ALE/Pong-v5")
    made("c-20261126-120002", trainer="apex-lstm")
    rows = [{"time_s": 1800.0 * i, "frames": 1000 * i, "updates": 20 * i, "evaluation_best": 3.0} for i in (1, 2, 5)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"time_s": 99')
    header = ",".join(EVALUATION_COLUMNS)
    (run / "evaluations.csv").write_text(f"{header}\n60,1,1,1,3,1,1,1,1,\n120,2,2,2,2.5,1,1,1,1,\n")
    head, first, second = lines(capsys)
    assert head.split() == ["run", "state", "environment", "updates", "frames", "hours", "last", "best"]
    assert first.split() == [
        run.name,
        "finished",
        "ALE/Pong-v5",
        "100",
        "5,000",
        "2.50",
        "2.50",
        "3.00",
        *["so", "it", "is"],
    ]
    assert second.split()[:5] == ["a-20261126-120000", "interrupted", "CartPole-v1", "-", "-"]


def test_the_best_may_be_of_the_final_evaluation() -> None:
    """Which comes after the last row of metrics."""
    run = made("a-20261126-120000")
    (run / "metrics.jsonl").write_text('{"time_s": 1, "evaluation_best": 3.0}\n')
    save_best(run, Counters(best_return=4.5), {})
    line = listed(run)
    assert line is not None and line.best == 4.5


def test_a_long_run_is_known_by_its_last_row() -> None:
    run = made("a-20261126-120000")
    (run / "metrics.jsonl").write_text("".join(f'{{"time_s": {i}, "updates": {i}}}\n' for i in range(20_000)))
    line = listed(run)
    assert line is not None and line.row["updates"] == 19_999


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("config.yaml", None, "config.yaml is missing"),
        ("config.yaml", b"", "config.yaml does not read"),
        ("config.yaml", b"\0\xff", "config.yaml does not read"),
        ("config.yaml", b"env: 3", "config.yaml does not read"),
        ("run.json", b'{"trainer": "apex-', "run.json does not read"),
    ],
)
def test_a_damaged_run_says_so_and_the_others_are_there(
    capsys: pytest.CaptureFixture[str], name: str, content: bytes | None, told: str
) -> None:
    run = made("a-20261126-120000")
    made("b-20261126-120001")
    (run / "metrics.jsonl").write_text('{"time_s": 3600, "updates": 7}\n')
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_bytes(content)
    _, other, line = lines(capsys)
    assert other.split()[1] == "finished"
    assert line.split()[:2] == [run.name, "damaged"] and line.endswith(told)
    assert line.split()[3:6] == ["7", "-", "1.00"], "what is whole is shown"


def test_what_can_not_be_read_is_damage_of_that_run(capsys: pytest.CaptureFixture[str]) -> None:
    (made("a-20261126-120000") / "metrics.jsonl").mkdir()
    Path("runs", "b-20261126-120001").mkdir()  # killed before its settings were written
    _, empty, line = lines(capsys)
    assert "damaged" in empty and empty.endswith("config.yaml is missing")
    assert "damaged" in line and line.endswith("metrics.jsonl: Is a directory")


def test_a_folder_without_runs_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("runs", "notes").mkdir(parents=True)
    assert lines(capsys) == ["runs holds no runs of apex-ray"]


@pytest.mark.parametrize(
    ("folder", "told"),
    [
        ("nowhere", "runs folder 'nowhere' does not exist; expected"),
        ("file", "runs folder 'file' is a file; expected"),
        ("runs/a-20261126-120000", "is a run folder; expected the one that it lies in, 'runs'"),
    ],
)
def test_what_is_no_folder_of_runs_is_refused(capsys: pytest.CaptureFixture[str], folder: str, told: str) -> None:
    made("a-20261126-120000")
    Path("file").touch()
    assert main(["runs", folder]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and told in err


def short(**sections: object) -> object:
    return cartpole(mode="serial", stop={"after_updates": 3}, evaluation={"final": False}, **sections)


def test_training_records_how_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = train(short(seed=1))
    line = listed(outcome.run)
    assert line is not None and (line.state, line.why) == ("finished", "stop.after_updates = 3")
    assert line.row["updates"] == 3 and line.env_id == "CartPole-v1"

    monkeypatch.setattr("apex_ray.run.training.stop_requested", lambda *given: nullcontext(lambda: True))
    line = listed(train(short(name="stopped")).run)
    assert line is not None and line.state == "interrupted" and "Ctrl-C" in line.why

    def fail(*_: object) -> bool:
        raise UserError("an actor failed")

    monkeypatch.setattr(SerialProgram, "watch", fail)
    with pytest.raises(UserError):
        train(short(name="failing"))
    (run,) = Path("runs").glob("failing-*")
    line = listed(run)
    assert line is not None and (line.state, line.why) == ("failed", "an actor failed")
