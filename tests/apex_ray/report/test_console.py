import io
import math
import re
from typing import Any

import pytest

from apex_ray.config.schema import ApexConfig, StopConfig
from apex_ray.report.console import (
    COMPILING,
    FILLING,
    LEARNING,
    PHASE_LINES,
    STARTING,
    Console,
    clock,
    left_s,
    number,
    plain_line,
)

ROW = {
    "time_s": 90.0, "frames": 123456, "frames_per_s": 2345.4, "updates": 1234, "updates_per_s": 12.34,
    "replay_transitions": 450_000, "replay_fill": 0.45, "replay_ratio": 1.023, "policy_age_updates": 35.2,
    "learner_wait_fraction": 0.12, "episode_return": -20.3, "episode_return_band_0": -19.7,
    "episode_return_band_3": -20.9, "evaluation_return": -19.8, "evaluation_best": -18.8,
}  # fmt: skip


def config(**parts: Any) -> ApexConfig:
    actors = {"count": 4, "envs_per_actor": 16}
    return ApexConfig.model_validate({"env": {"id": "ALE/Pong-v5"}, "actors": actors, **parts})


class Clock:
    """Stands still unless it is moved: a test may be slow."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("apex_ray.report.console.time", clock)
    return clock


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch, stopped: Clock) -> io.StringIO:
    monkeypatch.setenv("COLUMNS", "80")
    return io.StringIO()


def shown(stream: io.StringIO) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())


def last_table(stream: io.StringIO) -> str:
    return shown(stream).rpartition("╭")[2]


def test_a_plain_line() -> None:
    assert plain_line(ROW, StopConfig(after_s=100), "frames") == (
        "00:01:30  actors   -  frames     123,456 ( 2,345/s)  updates     1,234 ( 12.3/s)  replay  45%"
        "  ratio  1.02  age   35  wait  12%  return   -20.3  eval   -19.8 (best   -18.8)  left 00:00:10"
    )


def test_a_plain_line_of_nothing_known() -> None:
    assert plain_line({"frames_per_s": math.nan}, StopConfig(), "steps") == (
        "-  actors   -  steps           - (     -/s)  updates         - (    -/s)  replay    -"
        "  ratio     -  age    -  wait    -  return       -  eval       - (best       -)  left -"
    )


def test_without_a_terminal_a_line_each_interval_and_no_escape_codes(stream: io.StringIO) -> None:
    with Console("pong", config(), stream) as console:
        for time_s in range(5, 70, 5):
            console.update({**ROW, "time_s": float(time_s)})
        console.event("checkpoint [b]7[/b] written")
    lines = stream.getvalue().splitlines()
    assert [line.split()[0] for line in lines if "frames" in line] == ["00:00:05", "00:00:35", "00:01:05"]
    assert lines[:2] == ["starting pong", "00:00:05 learning"]
    assert lines[-1] == "00:01:05 checkpoint [b]7[/b] written"
    assert "\x1b" not in stream.getvalue()


def test_without_a_terminal_the_last_row_is_always_printed(stream: io.StringIO) -> None:
    with Console("pong", config(), stream) as console:
        console.update({**ROW, "time_s": 5.0})
        console.update({**ROW, "time_s": 10.0}, last=True)
        console.event("stopping")
    assert [line[:16] for line in stream.getvalue().splitlines()[-2:]] == ["00:00:10  actors", "00:00:10 stoppin"]


def test_times_never_go_back(stream: io.StringIO, stopped: Clock) -> None:
    with Console("pong", config(), stream) as console:
        stopped.now += 12.0  # Ray starts, and training's clock with its last process
        console.event("0 actors of 1 running, 1 starting")
        console.update({**ROW, "time_s": 2.0})
        stopped.now += 9.0
        console.event("evaluation")
        console.update({**ROW, "time_s": 10.5})
        console.event("checkpoint")
        console.update({**ROW, "time_s": 11.5}, last=True)
    times = [line.split()[0] for line in stream.getvalue().splitlines()]
    assert times == ["starting"] * 2 + ["00:00:02"] * 2 + ["00:00:11"] * 3
    assert times[2:] == sorted(times[2:])


def test_what_a_run_does_before_it_learns_is_said(stream: io.StringIO) -> None:
    pong = config(learner={"compile": "auto"}, replay={"min_transitions": 1000})
    rows = [
        {"frames": 0, "updates": 0},
        {"frames": 400, "updates": 0, "replay_transitions": 100},
        {"frames": 800, "updates": 0, "replay_transitions": 200},
        {"frames": 5000, "updates": 0, "replay_transitions": 1200},
        {"frames": 9000, "updates": 7, "replay_transitions": 2000},
    ]
    with Console("pong", pong, stream) as console:
        for time_s, row in enumerate(rows):
            console.update({"time_s": time_s, **row})
    told = [line[9:] for line in stream.getvalue().splitlines()]
    assert [text for text in told if "updates " not in text] == [
        "pong",
        PHASE_LINES[FILLING],
        PHASE_LINES[COMPILING],
        PHASE_LINES[LEARNING],
    ]


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ({}, STARTING),
        ({"frames": 1}, FILLING),
        ({"frames": 1, "replay_transitions": 10**6}, COMPILING),
        ({"frames": 1, "updates": 1}, LEARNING),
    ],
)
def test_the_table_shows_the_phase(stream: io.StringIO, row: dict[str, float], word: str) -> None:
    with Console("pong", config(learner={"compile": True}), stream, is_terminal=True) as console:
        console.update(row)
    assert f"{word}   elapsed" in last_table(stream)


def test_an_environment_without_an_emulator_has_steps_and_no_frames(stream: io.StringIO) -> None:
    cartpole = config(env={"id": "CartPole-v1"})
    with Console("cartpole", cartpole, stream, is_terminal=True) as console:
        console.update(ROW)
    assert "steps/s" in last_table(stream) and "frames" not in shown(stream)


def test_no_figure_is_less_than_zero_by_rounding() -> None:
    assert number({"x": -0.0004}, "x", ".0%") == "0%"
    assert number({"x": -0.04}, "x", ",.1f") == "0.0"
    assert number({"x": -0.06}, "x", ",.1f") == "-0.1"


def test_memory_has_the_unit_that_fits(stream: io.StringIO) -> None:
    with Console("pong", config(), stream, is_terminal=True) as console:
        console.update({**ROW, "resident_bytes": 300 * 2**20})
    assert "300 MiB" in last_table(stream)


def test_an_events_time_goes_on_from_a_resumed_run(stream: io.StringIO) -> None:
    with Console("pong", config(), stream) as console:
        console.update({**ROW, "time_s": 7200.0})
        console.event("checkpoint")
    assert stream.getvalue().startswith("starting pong\n02:00:00 learning\n02:00:00  actors")
    assert stream.getvalue().endswith("02:00:00 checkpoint\n")


def test_the_table_shows_the_row_in_80_columns(stream: io.StringIO) -> None:
    with Console("pong [x]", config(stop={"after_s": 100}), stream, is_terminal=True) as console:
        console.update(ROW)
    table = last_table(stream)
    for text in ("pong [x]", "123,456", "2,345", "1,234", "12.3", "450,000", "45%", "1.02", "35", "12%", "00:00:10"):
        assert text in table
    assert "…" not in table
    assert max(map(len, table.splitlines())) <= 80


def test_the_table_shows_returns_under_their_epsilons(stream: io.StringIO) -> None:
    with Console("pong", config(), stream, is_terminal=True) as console:
        console.update(ROW)
    lines = last_table(stream).splitlines()
    at = next(i for i, line in enumerate(lines) if "eps" in line)
    assert re.findall(r"eps \S+", lines[at]) == ["eps 0.0007", "eps 0.003", "eps 0.02", "eps 0.09"]
    assert re.findall(r"to \S+", lines[at + 1]) == ["to 0.003", "to 0.02", "to 0.08", "to 0.4"]
    assert lines[at + 3].split()[1:-1] == ["-20.3", "-19.7", "-", "-", "-20.9", "-19.8", "-18.8"]


def test_one_environment_has_one_band(stream: io.StringIO) -> None:
    one = config(actors={"count": 1, "envs_per_actor": 1})
    with Console("pong", one, stream, is_terminal=True) as console:
        console.update({})
    assert last_table(stream).count("eps ") == 1


def test_replaced_actors_are_shown(stream: io.StringIO) -> None:
    with Console("pong", config(), stream, is_terminal=True) as console:
        console.update({"actors_alive": 4, "restarts": 2})
    assert "4 (2 replaced)" in last_table(stream)


def test_an_event_stays_above_the_table(stream: io.StringIO) -> None:
    with Console("pong", config(), stream, is_terminal=True) as console:
        console.update(ROW)
        console.event("checkpoint [b]7[/b] written " + "x" * 90)
        console.update(ROW)
    text = "00:01:30 checkpoint [b]7[/b] written\n         " + "x" * 90 + "\n"
    assert shown(stream).count(text) == 1, "broken at a space, and what has none is whole"


def test_an_error_restores_the_terminal(stream: io.StringIO) -> None:
    with pytest.raises(ZeroDivisionError), Console("pong", config(), stream, is_terminal=True):
        raise ZeroDivisionError
    assert "\x1b[?25l" in stream.getvalue(), "the cursor was hidden"
    assert stream.getvalue().rstrip().endswith("\x1b[?25h")


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ({}, math.nan),
        ({"after_s": 100}, 10),
        ({"after_frames": 123456 + 23454, "after_s": 1000}, 10),
        ({"after_updates": 1234 + 1234, "after_frames": 10**9}, 100),
        ({"after_frames": 5}, 0),
    ],
)
def test_time_left_is_to_the_nearest_limit(stop: dict[str, float], expected: float) -> None:
    assert left_s(ROW, StopConfig.model_validate(stop)) == pytest.approx(expected, nan_ok=True)


def test_time_left_without_a_rate_is_not_known() -> None:
    for rate in (0.0, math.nan):
        assert math.isnan(left_s({"updates": 3, "updates_per_s": rate}, StopConfig(after_updates=10)))


def test_clock() -> None:
    assert [clock(s) for s in (0, 59.9, 3661, 360_000, -1, math.nan)] == [
        "00:00:00", "00:00:59", "01:01:01", "100:00:00", "00:00:00", "-",
    ]  # fmt: skip
