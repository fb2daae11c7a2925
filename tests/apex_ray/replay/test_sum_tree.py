"""The sum tree against a plain array, and sampled frequencies against the exact distribution."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from apex_ray.replay.sum_tree import SumTree

MASSES = st.floats(0, 1e6, allow_nan=False).map(lambda x: 0.0 if x < 1e-9 else x)


@settings(max_examples=60)
@given(st.data(), st.integers(1, 70))
def test_random_operations_keep_it_valid(data, capacity):
    tree, reference = SumTree(capacity), np.zeros(capacity)
    for _ in range(data.draw(st.integers(1, 6))):
        if data.draw(st.booleans()):
            first = data.draw(st.integers(0, capacity - 1))
            values = np.array(data.draw(st.lists(MASSES, min_size=1, max_size=capacity - first)))
            tree.set_range(first, values)
            reference[first : first + len(values)] = values
        else:
            indices = np.array(data.draw(st.lists(st.integers(0, capacity - 1), min_size=1, max_size=12)))
            values = np.array(data.draw(st.lists(MASSES, min_size=len(indices), max_size=len(indices))))
            tree.set(indices, values)
            for i, v in zip(indices, values, strict=True):
                reference[i] = v
        tree.check_valid()
        np.testing.assert_array_equal(tree.get(np.arange(capacity)), reference)
        assert tree.total == pytest.approx(reference.sum(), rel=1e-12)
    if reference.any():
        drawn = tree.sample(50, np.random.default_rng(0))
        assert (reference[drawn] > 0).all(), "a leaf without mass was drawn"


@pytest.mark.parametrize("capacity", [5, 64, 1000])
def test_frequencies_are_the_exact_distribution(capacity):
    rng = np.random.default_rng(7)
    masses = rng.random(capacity) ** 3
    masses[rng.random(capacity) < 0.2] = 0.0
    tree = SumTree(capacity)
    tree.set_range(0, masses)
    counts = np.bincount(tree.sample(200_000, rng), minlength=capacity)
    assert not counts[masses == 0].any()
    there = masses > 0
    expected = 200_000 * masses[there] / masses.sum()
    enough = expected >= 5  # what chi-square needs; the rest is lumped together
    observed, wanted = counts[there][enough], expected[enough]
    if not enough.all():
        observed, wanted = np.append(observed, counts[there][~enough].sum()), np.append(wanted, expected[~enough].sum())
    assert chisquare(observed, wanted).pvalue > 1e-3


def test_a_target_that_rounding_pushed_past_the_end_stays_in_a_leaf_with_mass():
    tree = SumTree(4)
    tree.set_range(0, np.array([0.1, 0.2, 0.0, 0.0]))

    class AlmostOne:
        def random(self, count):
            return np.full(count, np.nextafter(1.0, 0.0) + 1e-16)

    assert (tree.sample(3, AlmostOne()) == 1).all()  # type: ignore[arg-type]
