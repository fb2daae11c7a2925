import io
import math
import re
from pathlib import Path
from typing import Any

import pytest

from apex_ray.config.schema import ApexConfig, StopConfig
from apex_ray.report.console import Console, clock, left_s, plain_line

ROW = {
    "time_s": 90.0, "frames": 123456, "frames_per_s": 2345.4, "updates": 1234, "updates_per_s": 12.34,
    "replay_transitions": 450_000, "replay_fill": 0.45, "replay_ratio": 1.023, "policy_age_updates": 35.2,
    "learner_wait_fraction": 0.12, "episode_return": -20.3, "episode_return_band_0": -19.7,
    "episode_return_band_3": -20.9, "evaluation_return": -19.8, "evaluation_best": -18.8,
}  # fmt: skip


def config(**parts: Any) -> ApexConfig:
    actors = {"count": 4, "envs_per_actor": 16}
    return ApexConfig.model_validate({"env": {"id": "ALE/Pong-v5"}, "actors": actors, **parts})


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    monkeypatch.setenv("COLUMNS", "80")
    return io.StringIO()


def shown(stream: io.StringIO) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())


def last_table(stream: io.StringIO) -> str:
    return shown(stream).rpartition("╭")[2]


def test_a_plain_line() -> None:
    assert plain_line(ROW, StopConfig(after_s=100)) == (
        "00:01:30  actors   -  frames     123,456 ( 2,345/s)  updates     1,234 ( 12.3/s)  replay  45%"
        "  ratio  1.02  age   35  wait  12%  return   -20.3  eval   -19.8 (best   -18.8)  left 00:00:10"
    )


def test_a_plain_line_of_nothing_known() -> None:
    assert plain_line({"frames_per_s": math.nan}, StopConfig()) == (
        "-  actors   -  frames           - (     -/s)  updates         - (    -/s)  replay    -"
        "  ratio     -  age    -  wait    -  return       -  eval       - (best       -)  left -"
    )


def test_without_a_terminal_a_line_each_interval_and_no_escape_codes(stream: io.StringIO) -> None:
    with Console("pong", Path("run"), config(), stream) as console:
        for time_s in range(5, 70, 5):
            console.update({**ROW, "time_s": float(time_s)})
        console.event("checkpoint [b]7[/b] written")
        before = stream.getvalue()
    lines = before.splitlines()
    assert [line.split()[0] for line in lines if "frames" in line] == ["00:00:05", "00:00:35", "00:01:05"]
    assert lines[0] == "00:00:00 pong"
    assert lines[-1] == "00:01:05 checkpoint [b]7[/b] written"
    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue() == before, "the last row was printed already"


def test_without_a_terminal_the_last_row_is_printed_when_done(stream: io.StringIO) -> None:
    with Console("pong", Path("run"), config(), stream) as console:
        console.update({**ROW, "time_s": 5.0})
        console.update({**ROW, "time_s": 10.0})
    assert stream.getvalue().splitlines()[-1].startswith("00:00:10  actors")


def test_an_events_time_goes_on_from_a_resumed_run(stream: io.StringIO) -> None:
    with Console("pong", Path("run"), config(), stream) as console:
        console.update({**ROW, "time_s": 7200.0})
        console.event("checkpoint")
    assert "02:00:00 checkpoint" in stream.getvalue()


def test_the_table_shows_the_row_in_80_columns(stream: io.StringIO) -> None:
    with Console("pong [x]", Path("run"), config(stop={"after_s": 100}), stream, terminal=True) as console:
        console.update(ROW)
    table = last_table(stream)
    for text in ("pong [x]", "123,456", "2,345", "1,234", "12.3", "450,000", "45%", "1.02", "35", "12%", "00:00:10"):
        assert text in table
    assert "…" not in table
    assert max(map(len, table.splitlines())) <= 80


def test_the_table_shows_returns_under_their_epsilons(stream: io.StringIO) -> None:
    with Console("pong", Path("run"), config(), stream, terminal=True) as console:
        console.update(ROW)
    lines = last_table(stream).splitlines()
    at = next(i for i, line in enumerate(lines) if "eps" in line)
    assert re.findall(r"eps \S+", lines[at]) == ["eps 0.0007", "eps 0.003", "eps 0.02", "eps 0.09"]
    assert re.findall(r"to \S+", lines[at + 1]) == ["to 0.003", "to 0.02", "to 0.08", "to 0.4"]
    assert lines[at + 3].split()[1:-1] == ["-20.3", "-19.7", "-", "-", "-20.9", "-19.8", "-18.8"]


def test_one_environment_has_one_band(stream: io.StringIO) -> None:
    one = config(actors={"count": 1, "envs_per_actor": 1})
    with Console("pong", Path("run"), one, stream, terminal=True) as console:
        console.update({})
    assert last_table(stream).count("eps ") == 1


def test_replaced_actors_are_shown(stream: io.StringIO) -> None:
    with Console("pong", Path("run"), config(), stream, terminal=True) as console:
        console.update({"actors_alive": 4, "restarts": 2})
    assert "4 (2 replaced)" in last_table(stream)


def test_an_event_stays_above_the_table(stream: io.StringIO) -> None:
    with Console("pong", Path("run"), config(), stream, terminal=True) as console:
        console.update(ROW)
        console.event("checkpoint [b]7[/b] written " + "x" * 90)
        console.update(ROW)
    assert shown(stream).count("00:01:30 checkpoint [b]7[/b] written " + "x" * 90 + "\n") == 1


def test_an_error_restores_the_terminal(stream: io.StringIO) -> None:
    with pytest.raises(ZeroDivisionError), Console("pong", Path("run"), config(), stream, terminal=True):
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
