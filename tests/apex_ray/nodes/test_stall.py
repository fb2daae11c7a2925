"""What the watch for stalls says, and what it takes for none."""

import math
from pathlib import Path

import pytest

from apex_ray.nodes import stall
from apex_ray.nodes.replay_stats import ReplayStats
from trainkit.errors import UserError

WAITS = {"an insert": 130.0, "a sample": 0.5}


class Clock:
    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(stall.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def look(watch, clock, passed_s, frames=100, updates=5, sampled=80, silent_s=None, waits_s=WAITS):
    clock.now += passed_s
    shards = [ReplayStats(500, 1000, 600, sampled, 0, waits_s), ReplayStats(500, 1000, 0, 0, 0, {})]
    silent_s = silent_s or {"the learner": 1.0, "actor 3": 119.0}
    return watch.check({"frames": frames, "updates": updates}, shards, silent_s)


def test_who_waited_for_whom(clock):
    watch = stall.StallWatch(100.0, Path("runs/a"))
    for _ in range(11):
        look(watch, clock, 10.0)
    with pytest.raises(UserError) as error:
        look(watch, clock, 10.0)
    assert str(error.value) == (
        "nothing has moved for 110 s (cluster.stall_s = 100): 600 transitions inserted and 80 sampled; at replay-0 an "
        "insert has waited 130 s for the samples-per-insert limit; actor 3 has not reported for 119 s; no stacks; go "
        "on from the last checkpoint with apex-ray train --resume runs/a"
    )


@pytest.mark.parametrize("moving", [{"frames": 4}, {"updates": 1}, {"sampled": 16}])
def test_anything_that_moves_is_no_stall(clock, moving):
    watch = stall.StallWatch(100.0, Path("runs/a"))
    for i in range(50):
        look(watch, clock, 10.0, **{name: by * i for name, by in moving.items()})


def test_a_slow_start_is_no_stall_and_what_comes_after_it_is(clock):
    """Environments that take minutes to be made, also in a resumed run, which begins with frames and transitions."""
    watch = stall.StallWatch(100.0, Path("runs/a"), frames=100)
    starting = {"a sample": 500.0}
    for _ in range(50):
        look(watch, clock, 10.0, waits_s=starting)
    look(watch, clock, 10.0, frames=104, waits_s=starting)
    with pytest.raises(UserError) as error:
        for _ in range(31):
            assert clock.now <= 510.0 + stall.START_S, "an actor that was started anew has so long"
            look(watch, clock, 10.0, frames=104, waits_s=starting, silent_s={"actor 0": 95.0, "actor 1": math.inf})
    assert clock.now > 510.0 + stall.START_S
    assert "a sample has waited 500 s for the samples-per-insert limit or replay.min_transitions" in str(error.value)
    assert "actor 0 has not reported for 95 s; actor 1 has not reported yet; no stacks; go on" in str(error.value)


def test_actors_that_wait_for_the_limit_have_started(clock):
    """They may not come to their first report."""
    watch = stall.StallWatch(100.0, Path("runs/a"), frames=100)
    with pytest.raises(UserError, match=r"nothing has moved for 110 s .* an insert has waited 130 s"):
        for _ in range(12):
            look(watch, clock, 10.0)


def test_a_driver_that_was_away_is_no_stall(clock):
    """Ctrl-Z, or a laptop that slept."""
    watch = stall.StallWatch(100.0, Path("runs/a"))
    look(watch, clock, 10.0)
    look(watch, clock, 5_000.0)
    look(watch, clock, 5_000.0, frames=200)


def test_parts_that_report_no_more_hang_unless_they_may_be_waiting(clock):
    watch = stall.StallWatch(100.0, Path("runs/a"))
    look(watch, clock, 10.0)
    silent_s = {"the learner": 101.0, "actor 3": 102.0, "actor 4": math.inf}
    hung = look(watch, clock, 10.0, frames=300, silent_s=silent_s)
    assert hung == {"the learner": "the learner has not reported for 101 s (cluster.stall_s = 100)"}, "an insert waits"
    watch = stall.StallWatch(100.0, Path("runs/a"))
    look(watch, clock, 10.0)
    hung = look(watch, clock, 10.0, frames=400, silent_s=silent_s, waits_s={})
    assert list(hung) == ["the learner", "actor 3"], "one that never reported may still be starting"


def test_those_who_waited_for_a_part_that_hung_are_not_to_blame(clock):
    watch = stall.StallWatch(100.0, Path("runs/a"))
    look(watch, clock, 10.0, silent_s={"actor 3": 5.0}, waits_s={})
    watch.begin_anew()
    for silent_s in range(15, 115, 10):
        assert not look(watch, clock, 10.0, frames=200 + silent_s, silent_s={"actor 3": 90.0 + silent_s}, waits_s={})
    assert look(watch, clock, 10.0, frames=500, silent_s={"actor 3": 215.0}, waits_s={})


def test_what_comes_in_place_of_a_part_that_hung_has_time_to_start(clock):
    watch = stall.StallWatch(100.0, Path("runs/a"))
    for _ in range(11):
        look(watch, clock, 10.0, silent_s={"actor 3": 90.0}, waits_s={})
    assert look(watch, clock, 10.0, silent_s={"actor 3": 110.0}, waits_s={})
    for _ in range(int(stall.START_S / 10.0)):
        look(watch, clock, 10.0, silent_s={"actor 3": math.inf}, waits_s={})
    with pytest.raises(UserError, match="nothing has moved for 310 s"):
        look(watch, clock, 10.0, silent_s={"actor 3": math.inf}, waits_s={})
