"""Parts that users bring by name: a fault of one is one line of error, in every command that uses it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.apex_ray import faulty_parts
from tests.apex_ray.bad_inputs import Row, Seen, play
from tests.apex_ray.bad_inputs.files import GO_ON, a_run

PARTS = faulty_parts.__name__
KEYS = ("network.torso", "network.memory", "td.objective", "agent")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    faulty_parts.RaisesLater.raises = False


def told(seen: Seen) -> str:
    """The one line of error."""
    assert seen.code == 2 and "Traceback" not in seen.out + seen.err, seen.out + seen.err
    [line] = seen.err.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("TakesNothing", "can't be made: TypeError: "),
        ("Raises", "can't be made: KeyError: 'no such lever' ("),
        ("Exits", "can't be made: SystemExit: 3 ("),
        ("Empty", "has no "),
        ("NO_CLASS", "can't be made: TypeError: 'int' object is not callable"),
        ("Nowhere", f"module '{PARTS}' has no 'Nowhere'"),
    ],
)
def test_a_part_that_cannot_be_made_names_its_setting(tmp_path: Path, key: str, name: str, says: str) -> None:
    line = told(play(Row(name, f"train small.yaml {key}={PARTS}:{name}", says), tmp_path))
    assert f"{key} = '{PARTS}:{name}'" in line and says in line
    assert name == "Nowhere" or "expected what is called with (" in line
    assert (name in ("Raises", "Exits")) == ("faulty_parts.py:" in line), "the line of the user's own code"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (f"network.torso={PARTS}:WithoutFeatures", "has no num_features; expected what is called with (spec, config"),
        (f"network.torso={PARTS}:NoModule", "gave NoModule; expected a torch.nn.Module"),
        (f"network.torso={PARTS}:OfAnotherWidth", "has num_features = '8'; expected a whole number"),
        (
            f"network.memory={PARTS}:NoLayers actors.chunk_transitions=40",
            "agent Recurrent: its network can't be made: KeyError: 'no such memory' (",
        ),
        (f"agent={PARTS}:NoNetwork", "agent NoNetwork: its network can't be made: KeyError: 'no such network' ("),
        (f"report.loggers=[{PARTS}:TakesNothing]", f"report.loggers = {PARTS}:TakesNothing: can't begin: TypeError: "),
        (f"report.loggers=[{PARTS}:Raises]", "can't begin: KeyError: 'no such lever'"),
        (
            f"report.loggers=[{PARTS}:Empty]",
            "has no note, row, evaluation, checkpoint, close; expected what has ",
        ),
        (f"report.loggers=[{PARTS}:BadCheck]", "can't begin: KeyError: 'no such account'"),
        (f"env.make={PARTS}:Sized", "env.id = 'CartPole-v1' can't be used: TypeError: "),
        (f"env.make={PARTS}:Raises", "env.id = 'CartPole-v1' can't be used: KeyError: 'no such lever'"),
        (f"env.make={PARTS}:Empty", "gave Empty; expected a gymnasium.Env"),
    ],
)
def test_a_part_that_does_not_fit_says_why(tmp_path: Path, words: str, says: str) -> None:
    assert says in told(play(Row("", f"train small.yaml {words}", says), tmp_path))


@pytest.mark.parametrize("words", ["evaluate latest", "record latest", "export latest", GO_ON])
def test_a_network_that_raises_is_told_in_every_command(tmp_path: Path, words: str) -> None:
    def before() -> None:
        a_run(f"network.torso={PARTS}:RaisesLater")
        faulty_parts.RaisesLater.raises = True

    line = told(play(Row("", words, "", before=before), tmp_path))
    assert "failed: ValueError: no such layer (" in line and "faulty_parts.py:" in line
    [report] = tmp_path.glob("runs/*/error.txt")
    assert "ValueError: no such layer" in report.read_text() and str(report) in line


def record(tmp_path: Path, *settings: str) -> Seen:
    return play(Row("", "record latest", "", before=partial(a_run, *settings)), tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        (f"env.make={PARTS}:Corridor",),
        (f"env.make={PARTS}:PassesOn",),
        (f"env.make={PARTS}:sized", "env.kwargs.size=3"),
        (f"env.make={PARTS}:Corridor", "env.processes=true"),
    ],
)
def test_no_film_of_an_environment_that_takes_no_render_mode(tmp_path: Path, settings: Any) -> None:
    assert "draws no pictures (it takes no render_mode), so there can be no video" in told(record(tmp_path, *settings))


def test_what_an_environment_raises_when_it_is_to_draw_is_told(tmp_path: Path) -> None:
    assert "failed: OSError: no screen (" in told(record(tmp_path, f"env.make={PARTS}:Headless"))


def test_a_film_is_left_out_of_training_where_no_render_mode_is_taken(tmp_path: Path) -> None:
    words = f"train small.yaml env.make={PARTS}:Corridor evaluation.video=true evaluation.final=true"
    seen = play(Row("", words, ""), tmp_path)
    assert seen.code == 0 and seen.out.count("it takes no render_mode") == 1, seen.out + seen.err


def test_commands_compute_on_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training beside them has the cores."""
    found: list[int] = []

    def forward(self: Any, observations: torch.Tensor) -> torch.Tensor:
        found.append(torch.get_num_threads())
        features: torch.Tensor = super(faulty_parts.RaisesLater, self).forward(observations)
        return features

    monkeypatch.setattr(faulty_parts.RaisesLater, "forward", forward)
    for words in ("evaluate latest", "export latest --format safetensors"):
        torch.set_num_threads(2)
        found.clear()
        before = partial(a_run, f"network.torso={PARTS}:RaisesLater")
        seen = play(Row("", words, "", before=before), tmp_path)
        assert seen.code == 0 and set(found) == {1}, seen.err
