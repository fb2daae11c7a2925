"""Munchausen's reward and soft policy by hand, for every objective."""

import numpy as np
import pytest
import torch

from apex_ray.agent.categorical import CategoricalDqn
from apex_ray.agent.dqn import Dqn
from apex_ray.agent.following import following
from apex_ray.agent.q_learning import Transitions
from apex_ray.agent.quantile import QuantileDqn
from apex_ray.config.schema import ApexConfig, EnvConfig, LearnerConfig, TdConfig

TD = {"munchausen": 0.9, "munchausen_temperature": 0.5, "munchausen_clip": -0.6}
NOW, LATER = np.array([1.0, 2.0]), np.array([0.5, 1.5])  # the target network's values of two actions


def numbers(action, mask=None):
    """(what is added to the return, the next state's soft value), by the paper's equation 5."""
    later = LATER if mask is None else LATER[mask]
    log_now = NOW / 0.5 - np.log(np.exp(NOW / 0.5).sum())
    log_later = later / 0.5 - np.log(np.exp(later / 0.5).sum())
    reward = max(0.9 * 0.5 * log_now[action], -0.6)
    return reward, float((np.exp(log_later) * (later - 0.5 * log_later)).sum())


def step(action, legal=None):
    zero, one = torch.tensor([0]), torch.tensor([1])
    return Transitions(zero, torch.tensor([action]), torch.tensor([0.25]), torch.tensor([0.9]), one, legal)


def target(states):
    return torch.tensor(np.stack([NOW, LATER]), dtype=torch.float32)[states.long()][..., None]


def online(states):
    return torch.zeros(len(states), 2, 1)


def config(**td):
    return ApexConfig(env=EnvConfig(id="fake"), td=TdConfig(**TD, **td), learner=LearnerConfig(huber_delta=None))


@pytest.mark.parametrize("action", [0, 1])
def test_dqn(action):
    reward, value = numbers(action)
    assert action or reward == -0.6, "the clip is reached by action 0"
    losses, priorities, _ = Dqn(config()).loss(online, target, step(action))
    error = 0.25 + reward + 0.9 * value
    torch.testing.assert_close(priorities, torch.tensor([error], dtype=torch.float32))
    torch.testing.assert_close(losses, 0.5 * priorities**2)


def test_the_policy_has_no_action_that_is_not_legal():
    _, value = numbers(1, np.array([True, False]))
    reward, _ = numbers(1)
    _, priorities, _ = Dqn(config()).loss(online, target, step(1, torch.tensor([[True, False]])))
    torch.testing.assert_close(priorities, torch.tensor([0.25 + reward + 0.9 * value], dtype=torch.float32))


def test_as_the_temperature_falls_it_is_the_greedy_policy():
    soft = TdConfig(munchausen=0.0, munchausen_temperature=1e-4)
    after = following(soft, lambda q: q[..., 0], online, target, step(0))
    greedy = following(TdConfig(double_q=False), lambda q: q[..., 0], online, target, step(0))
    torch.testing.assert_close(after.outputs + after.bonus[:, None], greedy.outputs)
    torch.testing.assert_close(after.returns, greedy.returns)


def test_every_objective_has_the_same_mean():
    """Distributions that are points: their means are what DQN learns."""
    reward, value = numbers(1)
    goal = 0.25 + reward + 0.9 * value

    def twice(network):
        return lambda states: network(states).expand(-1, -1, 2)

    quantile = QuantileDqn(config(objective="quantile", objective_kwargs={"quantiles": 2}))
    torch.testing.assert_close(
        quantile.loss(twice(online), twice(target), step(1)).priorities, torch.tensor([goal], dtype=torch.float32)
    )

    # Values 0.5 apart from -5 to 5 are atoms: each state's distribution is one of them.
    def logits(network):
        def at(states):
            atoms = torch.linspace(-5, 5, 21)
            return torch.where((network(states) - atoms).abs() < 1e-3, 0.0, -1e9)

        return at

    kwargs = {"atoms": 21, "low": -5.0, "high": 5.0}
    categorical = CategoricalDqn(config(objective="categorical", objective_kwargs=kwargs))
    torch.testing.assert_close(
        categorical.loss(logits(online), logits(target), step(1)).priorities, torch.tensor([goal], dtype=torch.float32)
    )
