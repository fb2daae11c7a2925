"""Targets and losses of double DQN by hand."""

import pytest
import torch

from apex_ray.agent.dqn import Dqn
from apex_ray.agent.q_learning import Transitions
from apex_ray.config.schema import ApexConfig, EnvConfig, LearnerConfig, TdConfig


def table(rows):
    """A 'network' that looks Q-values up by the state's number."""
    values = torch.tensor(rows)[..., None]
    return lambda states: values[states.long()]


def dqn(double_q=True, huber_delta=None):
    learner = LearnerConfig(huber_delta=huber_delta)
    return Dqn(ApexConfig(env=EnvConfig(id="fake"), td=TdConfig(double_q=double_q), learner=learner))


ONLINE, TARGET = table([[1.0, 3.0], [5.0, 2.0]]), table([[10.0, 20.0], [30.0, 70.0]])
TRANSITIONS = Transitions(
    states=torch.tensor([0, 0]),
    actions=torch.tensor([1, 0]),
    returns=torch.tensor([0.5, 0.5]),
    discounts=torch.tensor([0.25, 0.0]),
    next_states=torch.tensor([1, 1]),
)


def test_the_online_network_chooses_and_the_target_network_values():
    # Online prefers action 0 in state 1, which the target values 30: 0.5 + 0.25 * 30 - 3 = 5; terminal: 0.5 - 1.
    losses, priorities, metrics = dqn().loss(ONLINE, TARGET, TRANSITIONS)
    assert priorities.tolist() == [5.0, 0.5] and metrics["q_mean"].item() == 2.0
    assert losses.tolist() == [12.5, 0.125], "half squares"


def test_without_double_q_the_targets_own_maximum_counts():
    # 0.5 + 0.25 * 70 - 3
    assert dqn(double_q=False).loss(ONLINE, TARGET, TRANSITIONS).priorities.tolist() == [15.0, 0.5]


def test_huber_by_hand():
    # |5| beyond delta 1: 5 - 0.5; |-0.5| within it: half its square
    assert dqn(huber_delta=1.0).loss(ONLINE, TARGET, TRANSITIONS).losses.tolist() == pytest.approx([4.5, 0.125])
