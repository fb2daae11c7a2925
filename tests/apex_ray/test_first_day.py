"""A first run as a new user makes it: shorter than any interval, then everything that its last lines say."""

import csv
import json
import shlex

import pytest

from apex_ray.cli import main
from apex_ray.config.load import load
from apex_ray.retro.cartridge.rom import NAME
from trainkit.config import to_yaml
from trainkit.runs import create_run

SETTINGS = ["mode=serial", "stop.after_s=2", "stop.evaluation_return=null", "evaluation.episodes=2", "actors.count=1"]


@pytest.mark.timeout(200)
def test_what_a_short_run_says_leaves_and_offers(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for name in ("APEX_RUNS_DIR", "SDL_VIDEODRIVER", "XDG_RUNTIME_DIR", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert main(["train", "cartpole", *SETTINGS]) == 0
    out, err = capfd.readouterr()
    (run,) = (tmp_path / "runs").iterdir()
    assert err == ""
    assert "1 actor x 8 environments" in out and "1 actors" not in out and " 0.00 GiB" not in out
    assert f"tensorboard --logdir {run.parent.name}" in out
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["frames"] > 0, "a row however short it was"
    times = [line.split()[0] for line in out.splitlines() if line[:2] == "00"]
    assert times == sorted(times)
    assert (run / "learning_curve.png").stat().st_size > 5000
    with (run / "evaluations.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 1
    assert json.loads((run / "run.json").read_text())["trainer"] == "apex-ray"

    offered = [line.split("apex-ray ", 1)[1] for line in out.splitlines()[-4:]]
    assert [shlex.split(words)[0] for words in offered] == ["evaluate", "record", "plot", "train"]
    assert all(f"runs/{run.name}" in words for words in offered)
    (run / "learning_curve.png").unlink()
    for words, says in zip(offered[:3], ("return: mean", "video: ", "learning_curve.png"), strict=True):
        assert main([*shlex.split(words)]) == 0
        out, err = capfd.readouterr()
        assert says in out and err == ""
    assert (run / "learning_curve.png").exists() and (run / "memory.png").exists()
    longer = f"stop.after_s={rows[-1]['time_s'] + 2}"
    assert main(["train", "--resume", "latest", longer, "evaluation.final=false"]) == 0
    assert len(json.loads((run / "run.json").read_text())["starts"]) == 2


def test_a_run_whose_settings_do_not_load_is_drawn_all_the_same(tmp_path, monkeypatch):
    """Of another version: what it wrote is there."""
    run = create_run(tmp_path, "pong", to_yaml(load("pong").config) + "replay_of_old: {size: 3}\n")
    drawn = []
    for name in ("learning_curve", "memory_plot"):
        monkeypatch.setattr(f"apex_ray.report.drawn.{name}", lambda *args: drawn.append(args))
    assert main(["plot", str(run)]) == 0
    assert drawn == [(run, ""), (run / "memory.csv", run / "memory.png")]
    (run / "config.yaml").write_text("name: sonic\nenv: {id: retro/Sonic, demo: true}\n")
    assert main(["plot", str(run)]) == 0
    assert drawn[2] == (run, NAME), "whose scores these are is said"


def test_plot_of_a_run_that_wrote_nothing_yet_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = create_run("runs", "pong", to_yaml(load("pong").config))
    assert main(["plot", "latest"]) == 0
    assert capsys.readouterr().out == f"{run} holds nothing yet that could be drawn\n"
    assert not list(run.glob("*.png"))
