"""C51's objective by hand and against a loop over atoms."""

import numpy as np
import pytest
import torch

from apex_ray.agent.categorical import CategoricalDqn
from apex_ray.agent.q_learning import Transitions
from apex_ray.config.schema import ApexConfig, EnvConfig, TdConfig
from trainkit.errors import UserError


def objective(double_q=True, td=None, **kwargs):
    given = TdConfig(objective="categorical", objective_kwargs=kwargs, double_q=double_q, **(td or {}))
    return CategoricalDqn(ApexConfig(env=EnvConfig(id="fake"), td=given))


def table(rows):
    """A 'network' whose logits [A, N] are looked up by the state's number."""
    logits = torch.tensor(rows).log()
    return lambda states: logits[states.long()]


def step(returns=1.0, discount=0.5):
    zero, one = torch.tensor([0]), torch.tensor([1])
    return Transitions(zero, zero, torch.tensor([returns]), torch.tensor([discount]), one)


# Two states, two actions, three atoms: -1, 0 and 1.
ONLINE = table([[[0.25, 0.25, 0.5], [1.0, 1.0, 1.0]], [[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]])
TARGET = table([[[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]], [[0.0, 0.2, 0.8], [0.6, 0.4, 0.0]]])
ATOMS = {"atoms": 3, "low": -1.0, "high": 1.0}


def test_the_loss_by_hand():
    # Online chooses action 1 (means -1/4 and 1/4), which the target has at -1 (0.6) and 0 (0.4).
    # Goals 0.25 + 0.5 * atoms: -1/4 and 1/4. Of -1/4 a quarter goes to -1, the rest to 0; of 1/4 the rest to 1.
    # Wanted: -1: 0.15, 0: 0.45 + 0.3 = 0.75, 1: 0.1. Cross-entropy with (1/4, 1/4, 1/2).
    losses, priorities, metrics = objective(**ATOMS).loss(ONLINE, TARGET, step(returns=0.25))
    expected = -(0.15 * np.log(0.25) + 0.75 * np.log(0.25) + 0.1 * np.log(0.5))
    torch.testing.assert_close(losses, torch.tensor([expected], dtype=torch.float32))
    torch.testing.assert_close(priorities, torch.tensor([0.05 + 0.25]))  # means -0.05 and 0.25
    assert metrics["q_mean"].item() == pytest.approx(0.25)


def test_without_double_q_the_target_network_chooses_and_goals_stay_between_the_atoms():
    # Action 0: at 0 (0.2) and 1 (0.8). Goals 1 + 0.5 * atoms are 1 and 1.5, both the last atom.
    losses, priorities, _ = objective(double_q=False, **ATOMS).loss(ONLINE, TARGET, step())
    torch.testing.assert_close(losses, torch.tensor([-np.log(0.5)], dtype=torch.float32))
    torch.testing.assert_close(priorities, torch.tensor([0.75]))


def test_projection_is_the_papers_loop():
    one, rng = objective(atoms=11, low=-2.0, high=3.0), np.random.default_rng(0)
    goals = torch.from_numpy(rng.uniform(-4, 5, (5, 11)).astype(np.float32))
    goals[0, :3] = torch.tensor([-2.0, 0.5, 3.0])  # exactly on atoms
    probabilities = torch.softmax(torch.from_numpy(rng.normal(size=(5, 11)).astype(np.float32)), 1)
    wanted = np.zeros((5, 11))
    for b in range(5):
        for i in range(11):  # algorithm 1
            at = (min(max(float(goals[b, i]), -2.0), 3.0) + 2.0) / 0.5
            low, high = int(np.floor(at)), int(np.ceil(at))
            if low == high:
                wanted[b, low] += float(probabilities[b, i])
            else:
                wanted[b, low] += float(probabilities[b, i]) * (high - at)
                wanted[b, high] += float(probabilities[b, i]) * (at - low)
    np.testing.assert_allclose(one._projected(goals, probabilities).numpy(), wanted, atol=1e-5)


def test_values_are_the_distributions_means():
    torch.testing.assert_close(
        objective(**ATOMS).q_values(ONLINE(torch.tensor([0, 1]))), torch.tensor([[0.25, 0.0], [-0.25, 0.25]])
    )


def test_a_mistake_in_its_settings_is_named():
    with pytest.raises(UserError, match=r"td.objective_kwargs.atom = 7.*Did you mean 'atoms'"):
        objective(atom=7)
    with pytest.raises(UserError, match="low = 3 must be below high = 1"):
        objective(low=3.0, high=1.0)
