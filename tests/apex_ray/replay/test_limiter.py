import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apex_ray.replay.limiter import Limiter
from trainkit.errors import UserError


def test_nothing_is_sampled_below_the_minimum_and_free_running_after_it():
    limiter = Limiter(100, None, 0, 10, 32)
    limiter.inserted = 99
    assert limiter.may_insert() and limiter.samples_allowed == 0
    limiter.inserted, limiter.sampled = 100, 10**9
    assert limiter.may_insert() and limiter.samples_allowed == math.inf


def test_the_side_that_is_ahead_waits():
    limiter = Limiter(100, 2.0, tolerance_transitions=50, largest_insert=10, batch_size=32)
    limiter.inserted = 151  # drift 102 > 2 * 50
    assert not limiter.may_insert() and limiter.samples_allowed == 2 * 51 + 2 * 50
    limiter.sampled = 200  # drift -98: a batch would make it -130
    assert limiter.may_insert() and limiter.samples_allowed < 200 + 32


@settings(max_examples=200)
@given(st.integers(1, 200), st.floats(0.1, 20), st.integers(0, 300), st.integers(1, 60), st.integers(1, 64), st.data())
def test_it_never_deadlocks_and_keeps_the_ratio(minimum, ratio, tolerance, chunk, batch, data):
    try:
        limiter = Limiter(minimum, ratio, tolerance, chunk, batch)
    except UserError:
        return
    for _ in range(300):
        can_insert, can_sample = limiter.may_insert(), limiter.samples_allowed >= limiter.sampled + batch
        assert can_insert or can_sample, "both sides wait for each other"
        if can_insert and (not can_sample or data.draw(st.booleans())):
            limiter.inserted += chunk
        else:
            limiter.sampled += batch
        drift = ratio * (limiter.inserted - minimum) - limiter.sampled
        assert -ratio * tolerance <= drift + 1e-6 or limiter.inserted < minimum
        assert drift <= ratio * (tolerance + chunk) + 1e-6


@pytest.mark.parametrize(
    ("sampled", "expected"),
    [(500, 500), (300, 300), (100, 225), (0, 225), (5_000, 675)],  # due: 4.5 * 100 = 450, the bound 4.5 * 50 = 225
)
def test_saved_counts_are_brought_within_the_bounds(sampled, expected):
    """Under another ratio a saved drift would make one side wait for hours."""
    limiter = Limiter(100, 4.5, tolerance_transitions=50, largest_insert=10, batch_size=32)
    limiter.start_from(200, sampled)
    assert limiter.inserted == 200 and limiter.sampled == expected
    assert limiter.samples_allowed >= limiter.sampled and limiter.may_insert()


def test_a_setting_that_would_deadlock_is_refused():
    with pytest.raises(UserError, match=r"insert_tolerance_transitions = 5 would deadlock.*at least 33"):
        Limiter(100, 1.0, tolerance_transitions=5, largest_insert=10, batch_size=32)
