"""Bits against sums over all values and against an independent implementation of the logistic's distribution."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import logistic

from wavenet.likelihood import logistics_bits, softmax_bits


def mixture(rng, m, spread):
    logits, means = rng.normal(0, 1, m), rng.uniform(-1.1, 1.1, m)
    log_scales = rng.uniform(-spread, 1.0, m)
    return logits, means, log_scales


@given(st.integers(0, 10_000), st.integers(1, 6), st.floats(1.0, 12.0), st.sampled_from([2, 16, 256, 65536]))
@settings(max_examples=40)
def test_the_probabilities_of_all_values_sum_to_one(seed, m, spread, levels):
    expected = torch.tensor(np.concatenate(mixture(np.random.default_rng(seed), m, spread)), dtype=torch.float32)
    values = torch.arange(levels) * 2 / levels - 1  # as k / 32768 is of 16-bit sound
    bits = logistics_bits(expected.expand(1, levels, 3 * m), values[None], levels)
    assert torch.exp2(-bits.double()).sum().item() == pytest.approx(1.0, abs=2e-3)


def test_each_mass_is_scipys():
    rng, levels = np.random.default_rng(1), 256
    logits, means, log_scales = mixture(rng, 3, 3.0)
    weights = np.exp(logits) / np.exp(logits).sum()
    values, half = np.arange(levels) * 2 / levels - 1, 1 / levels
    upper, lower = values + half, values - half
    upper[-1], lower[0] = np.inf, -np.inf
    mass = sum(
        w * (logistic.cdf(upper, m, math.exp(s)) - logistic.cdf(lower, m, math.exp(s)))
        for w, m, s in zip(weights, means, log_scales, strict=True)
    )
    expected = torch.tensor(np.concatenate([logits, means, log_scales])).expand(1, levels, 9)
    bits = logistics_bits(expected, torch.tensor(values)[None], levels)
    np.testing.assert_allclose(bits[0].numpy(), -np.log2(mass), rtol=1e-3, atol=1e-3)


def test_bits_stay_finite_far_from_every_mean():
    expected = torch.tensor([0.0, -1.0, -20.0], requires_grad=True)
    bits = logistics_bits(expected.expand(1, 2, 3), torch.tensor([[1.0, 0.5]]))
    bits.sum().backward()
    assert torch.isfinite(bits).all() and torch.isfinite(expected.grad).all()


def test_equal_logits_cost_8_bits():
    logits = torch.zeros(2, 5, 256)
    assert softmax_bits(logits, torch.zeros(2, 5, dtype=torch.int64)).tolist() == [[8.0] * 5] * 2
