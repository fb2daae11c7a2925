"""The optimizer of `learner.optimizer: rmsprop`, as the learner builds it, is the paper's."""

import numpy as np
import pytest
import torch

from apex_ray.config.schema import LearnerConfig
from apex_ray.learner.learner import build_optimizer

CPU = torch.device("cpu")
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def built(parameters, device=CPU, **settings):
    return build_optimizer(parameters, LearnerConfig(optimizer="rmsprop", **settings), device)


def step(optimizer, parameters, gradients):
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = torch.as_tensor(g, dtype=p.dtype, device=p.device)
    optimizer.step()


def test_two_steps_by_hand():
    """Rate 0.1, decay 0.9, epsilon 0.01, gradients 2 and 1.

    m = 0.2, v = 0.4: 0.4 - 0.04 + 0.01 = 0.37; 1 - 0.1 * 2 / sqrt(0.37) = 0.67120258...
    m = 0.28, v = 0.46: 0.46 - 0.0784 + 0.01 = 0.3916; less 0.1 * 1 / sqrt(0.3916) = 0.15980069...
    """
    p = torch.tensor([1.0], dtype=torch.float64)
    optimizer = built([p], learning_rate=0.1, rmsprop_decay=0.9, epsilon=0.01)
    step(optimizer, [p], [[2.0]])
    assert p.item() == pytest.approx(0.6712020253, abs=1e-9)
    step(optimizer, [p], [[1.0]])
    assert p.item() == pytest.approx(0.5114013324, abs=1e-9)


def test_epsilon_bounds_the_step_of_a_vanishing_gradient():
    """With a gradient of 1e-6, v - m^2 is 4.75e-14: epsilon alone is what the root is drawn of."""
    p = torch.zeros(1, dtype=torch.float64)
    step(built([p], learning_rate=6.25e-5, epsilon=1.5e-7), [p], [[1e-6]])
    assert p.item() == pytest.approx(-6.25e-5 * 1e-6 / np.sqrt(1.5e-7), rel=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_many_steps_of_an_independent_reference(device):
    rng = np.random.default_rng(5)
    shapes, rate, decay, epsilon = [(3, 4, 2, 2), (7,), ()], 1e-3, 0.95, 1.5e-7
    reference = [rng.normal(size=s) for s in shapes]
    means, squares = ([np.zeros(s) for s in shapes] for _ in range(2))
    parameters = [torch.tensor(r, device=device) for r in reference]
    parameters[0] = parameters[0].to(memory_format=torch.channels_last)
    optimizer = built(parameters, torch.device(device), learning_rate=rate, rmsprop_decay=decay, epsilon=epsilon)
    for _ in range(300):
        gradients = [rng.normal(size=s) * 10.0 ** rng.integers(-6, 2) for s in shapes]
        for i, g in enumerate(gradients):
            means[i] = decay * means[i] + (1 - decay) * g
            squares[i] = decay * squares[i] + (1 - decay) * g * g
            reference[i] = reference[i] - rate * g / np.sqrt(squares[i] - means[i] ** 2 + epsilon)
        step(optimizer, parameters, gradients)
    for p, r in zip(parameters, reference, strict=True):
        np.testing.assert_allclose(p.cpu().numpy(), r, rtol=1e-9)


@pytest.mark.parametrize("device", DEVICES)
def test_a_constant_gradient_stays_finite(device):
    """Its variance comes to 0, and rounding in float32 to below it by more than epsilon."""
    p = torch.zeros(64, device=device)
    optimizer = built([p], torch.device(device))
    gradient = torch.linspace(1, 40, 64)
    for _ in range(2_000):
        step(optimizer, [p], [gradient])
    assert torch.isfinite(p).all()


def test_a_parameter_without_a_gradient_stays():
    p, still = torch.zeros(1), torch.ones(1)
    optimizer = built([p, still])
    p.grad = torch.ones(1)
    optimizer.step()
    assert p.item() != 0 and still.item() == 1 and still not in optimizer.state
