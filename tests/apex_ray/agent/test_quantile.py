"""The quantile objective by hand, and CartPole with it."""

import numpy as np
import pytest
import torch

from apex_ray.agent.q_learning import Transitions
from apex_ray.agent.quantile import QuantileDqn
from apex_ray.config.schema import ApexConfig, EnvConfig, LearnerConfig, TdConfig
from trainkit.errors import UserError


def objective(double_q=True, huber_delta=1.0, **kwargs):
    td = TdConfig(objective="quantile", objective_kwargs=kwargs, double_q=double_q)
    return QuantileDqn(ApexConfig(env=EnvConfig(id="fake"), td=td, learner=LearnerConfig(huber_delta=huber_delta)))


def table(rows):
    """A 'network' that looks quantiles [A, N] up by the state's number."""
    values = torch.tensor(rows)
    return lambda states: values[states.long()]


# Two states, two actions, two quantiles (at 1/4 and 3/4).
ONLINE = table([[[0.0, 2.0], [5.0, 5.0]], [[3.0, 5.0], [1.0, 9.0]]])
TARGET = table([[[9.0, 9.0], [9.0, 9.0]], [[4.0, 8.0], [0.0, 0.0]]])
STEP = Transitions(
    states=torch.tensor([0]),
    actions=torch.tensor([0]),
    returns=torch.tensor([1.0]),
    discounts=torch.tensor([0.5]),
    next_states=torch.tensor([1]),
)


def test_quantile_huber_loss_by_hand():
    # Online: means 4 and 5 in state 1, so action 1, which the target values (0, 0): goals 1 + 0.5 * 0 = (1, 1).
    # Errors of quantile 0 (prediction 0): 1, 1; of quantile 1 (prediction 2): -1, -1. Huber of each: 1/2.
    # Sides: |1/4 - 0| = 1/4, |3/4 - 1| = 1/4. Loss: 1/4 * 1/2 + 1/4 * 1/2. Means: 1 - 1.
    losses, priorities, metrics = objective(quantiles=2).loss(ONLINE, TARGET, STEP)
    assert losses.tolist() == [0.25] and priorities.tolist() == [0.0] and metrics["q_mean"].item() == 1.0


def test_without_double_q_the_target_network_chooses():
    # Action 0, which it values (4, 8): goals (3, 5). Errors of quantile 0: 3, 5; of quantile 1: 1, 3.
    # Huber: 2.5, 4.5 and 0.5, 2.5. Sides 1/4 and 3/4. Loss: 1/4 * 3.5 + 3/4 * 1.5. Means: 4 - 1.
    losses, priorities, _ = objective(double_q=False, quantiles=2).loss(ONLINE, TARGET, STEP)
    assert losses.tolist() == [2.0] and priorities.tolist() == [3.0]


def test_without_threshold_it_is_quantile_regression():
    # 1/4 * (3 + 5) / 2 + 3/4 * (1 + 3) / 2
    assert objective(double_q=False, huber_delta=None, quantiles=2).loss(ONLINE, TARGET, STEP).losses.tolist() == [2.5]


def test_it_finds_the_quantiles_of_a_distribution():
    """A single state with uniform returns: predictions settle at (i + 1/2) / N."""
    one, rng = objective(quantiles=4, huber_delta=None), np.random.default_rng(0)
    quantiles = torch.zeros(1, 1, 4, requires_grad=True)
    optimizer = torch.optim.Adam([quantiles], 0.01)
    for _ in range(1500):
        returns = torch.from_numpy(rng.random(64).astype(np.float32))
        nothing = torch.zeros(64, dtype=torch.long)
        batch = Transitions(nothing, nothing, returns, torch.zeros(64), nothing)
        loss = one.loss(lambda states: quantiles.expand(64, 1, 4), lambda states: torch.zeros(64, 1, 4), batch)
        optimizer.zero_grad()
        loss.losses.mean().backward()
        optimizer.step()
    np.testing.assert_allclose(quantiles.detach().flatten(), [0.125, 0.375, 0.625, 0.875], atol=0.06)


def test_a_mistake_in_its_settings_is_named():
    with pytest.raises(UserError, match=r"td.objective_kwargs.quantile = 7.*Did you mean 'quantiles'"):
        objective(quantile=7)
