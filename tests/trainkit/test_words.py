"""Counts and sizes as a reader expects them."""

import pytest

from trainkit.words import plural, size


@pytest.mark.parametrize(("count", "words"), [(0, "0 actors"), (1, "1 actor"), (2, "2 actors"), (1234, "1,234 actors")])
def test_a_count_with_its_noun(count, words):
    assert plural(count, "actor") == words


def test_a_noun_that_takes_more_than_an_s():
    assert [plural(n, "process", "processes") for n in (1, 2)] == ["1 process", "2 processes"]


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (0, "0 B"), (512, "512 B"), (999, "999 B"), (1000, "1.0 KiB"), (3_774_874, "3.6 MiB"), (146_800_640, "140 MiB"),
        (104_857_599, "100 MiB"), (1_047_527_424, "999 MiB"), (1_048_051_712, "1.0 GiB"),
        (2_040_109_466, "1.9 GiB"), (15 * 2**40, "15.0 TiB"), (2**60, "1048576 TiB"),
    ],
)  # fmt: skip
def test_a_size_has_the_unit_that_fits(amount, words):
    assert size(amount) == words
