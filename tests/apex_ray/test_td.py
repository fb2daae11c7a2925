"""n-step returns against tables worked by hand. gamma = 0.5 and n = 3 make every number exact in binary."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apex_ray.td import CONTINUES as C
from apex_ray.td import RESET as R
from apex_ray.td import TERMINAL as T
from apex_ray.td import TRUNCATED as X
from apex_ray.td import clip_rewards, importance_weights, n_step_returns, rescaled, td_target, unrescaled

# One row per case: rewards and kinds of T + n - 1 = 6 steps, then (return, discount, m) of the first T = 4 positions;
# None marks an autoreset step, whose values mean nothing.
TABLES = {
    "no end": (
        [1, 2, 4, 8, 16, 32],
        [C, C, C, C, C, C],
        # 1 + 2/2 + 4/4 = 3;  2 + 4/2 + 8/4 = 6;  4 + 4 + 4 = 12;  8 + 8 + 8 = 24;  gamma^3 = 1/8
        [(3, 0.125, 3), (6, 0.125, 3), (12, 0.125, 3), (24, 0.125, 3)],
    ),
    "terminal at step 2, then a reset": (
        [1, 2, 4, 0, 16, 32],
        [C, C, T, R, C, C],
        # the tails keep shorter returns and bootstrap from nothing; the reset's reward never enters
        [(3, 0, 3), (4, 0, 2), (4, 0, 1), None],
    ),
    "truncated at step 2, then a reset": (
        [1, 2, 4, 0, 16, 32],
        [C, C, X, R, C, C],
        # the same returns, but the final state still has a value: gamma^m with m = 3, 2, 1
        [(3, 0.125, 3), (4, 0.25, 2), (4, 0.5, 1), None],
    ),
    "a lost life counted as terminal goes on without a reset": (
        [1, 2, 4, 8, 16, 32],
        [C, T, C, C, C, C],
        [(2, 0, 2), (2, 0, 1), (12, 0.125, 3), (24, 0.125, 3)],
    ),
    "an episode of one step": (
        [7, 0, 4, 8, 16, 32],
        [T, R, C, C, C, C],
        [(7, 0, 1), None, (12, 0.125, 3), (24, 0.125, 3)],
    ),
    "an end in the tail after the chunk": (
        [1, 2, 4, 8, 16, 32],
        [C, C, C, C, X, R],
        [(3, 0.125, 3), (6, 0.125, 3), (12, 0.125, 3), (16, 0.25, 2)],
    ),
    "two ends within one window": (
        [1, 0, 2, 0, 4, 8],
        [X, R, T, R, C, C],
        [(1, 0.5, 1), None, (2, 0, 1), None],
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_returns_equal_the_hand_computed_table(name):
    rewards, kinds, expected = TABLES[name]
    returns, discounts, steps = n_step_returns(np.array([rewards], np.float32), np.array([kinds], np.uint8), 3, 0.5)
    for t, row in enumerate(expected):
        if row is not None:
            assert (returns[0, t], discounts[0, t], steps[0, t]) == row, f"position {t}"


def test_streams_do_not_mix():
    names = ["no end", "terminal at step 2, then a reset"]
    rewards = np.array([TABLES[n][0] for n in names], np.float32)
    kinds = np.array([TABLES[n][1] for n in names], np.uint8)
    together = n_step_returns(rewards, kinds, 3, 0.5)
    for row in range(2):
        alone = n_step_returns(rewards[row : row + 1], kinds[row : row + 1], 3, 0.5)
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_array_equal(a[row], b[0])


def test_one_step_is_plain_q_learning():
    returns, discounts, steps = n_step_returns(
        np.array([[1, 2]], np.float32), np.array([[C, T]], np.uint8), n_step=1, discount=0.9
    )
    np.testing.assert_array_equal(returns, [[1, 2]])
    np.testing.assert_allclose(discounts, [[0.9, 0]], rtol=1e-6)
    np.testing.assert_array_equal(steps, [[1, 1]])


def test_rewards_are_clipped_before_they_are_summed():
    np.testing.assert_array_equal(clip_rewards(np.array([-400, 0.5, 7]), 1.0), [-1, 0.5, 1])
    np.testing.assert_array_equal(clip_rewards(np.array([-400, 0.5, 7]), None), [-400, 0.5, 7])


def test_td_target():
    np.testing.assert_array_equal(
        td_target(np.array([1.0, 2.0]), np.array([0.25, 0.0]), np.array([8.0, 99.0])), [3.0, 2.0]
    )


def test_importance_weights_by_hand():
    # N = 4, beta = 0.5: (4 * 1/4)^-.5 = 1, (4 * 1/16)^-.5 = 2, (4 * 1)^-.5 = 1/2, all divided by the largest
    weights = importance_weights(np.array([0.25, 0.0625, 1.0]))
    np.testing.assert_allclose(weights**0.5, [0.5, 1.0, 0.25])
    np.testing.assert_allclose(weights, [0.25, 1.0, 0.0625])


NUMBERS = st.floats(-1e6, 1e6)


@given(NUMBERS, st.sampled_from([1e-3, 1e-2, 0.5]))
def test_a_value_s_scale_is_the_paper_s_and_its_inverse_undoes_it(value, epsilon):
    """h(x) = sign(x) (sqrt(|x| + 1) - 1) + epsilon x (Kapturowski et al. 2019, section 2.3)."""
    h = math.copysign(math.sqrt(abs(value) + 1) - 1, value) + epsilon * value
    assert rescaled(np.float64(value), epsilon) == pytest.approx(h, rel=1e-9, abs=1e-12)
    assert unrescaled(rescaled(np.float64(value), epsilon), epsilon) == pytest.approx(value, rel=1e-9, abs=1e-9)


@given(NUMBERS)
def test_in_single_precision_too_on_arrays_and_tensors(value):
    array, tensor = np.float32([value]), torch.tensor([value], dtype=torch.float32)
    for one in (array, tensor):
        assert unrescaled(rescaled(one, 1e-3), 1e-3)[0] == pytest.approx(float(array[0]), rel=1e-4, abs=1e-5)
    assert rescaled(tensor, 1e-3).dtype == torch.float32 and rescaled(array, 1e-3).dtype == np.float32


def test_no_value_is_no_value_in_the_other_scale():
    assert rescaled(np.float32(0), 1e-3) == unrescaled(np.float32(0), 1e-3) == 0
