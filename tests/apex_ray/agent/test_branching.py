"""Branching Q-learning against a hand-computed table, and its shapes."""

import numpy as np
import pytest
import torch

from apex_ray.agent.branching import Branching
from apex_ray.agent.build import build_agent
from apex_ray.agent.network import Inference
from apex_ray.agent.q_learning import QLearning
from apex_ray.config.schema import ApexConfig, EnvConfig
from apex_ray.types import MASK, EnvSpec, Leaf
from trainkit.errors import UserError

VECTOR = Leaf("vector", (1,), "float32")
SPEC = EnvSpec("fake", {"frames": VECTOR}, (2, 3), 1)
MASKED = EnvSpec("fake", {"frames": VECTOR, MASK: Leaf("mask", (5,), "bool")}, (2, 3), 1)


def agent(spec=SPEC, **sections):
    return build_agent(ApexConfig(env=EnvConfig(id="fake", frame_stack=1), **sections), spec)


class Table(torch.nn.Module):
    """Values of two branches side by side, by the observation's only number."""

    def __init__(self, rows):
        super().__init__()
        self.rows = torch.tensor(rows)

    def forward(self, observations):
        return self.rows[observations["frames"][:, -1, 0].long()][..., None]


ONLINE = Table([[1.0, 3.0, 0.0, 5.0, 2.0], [4.0, 0.0, 1.0, 1.0, 7.0]])
TARGET = Table([[0.0, 0.0, 0.0, 0.0, 0.0], [10.0, 20.0, 30.0, 40.0, 50.0]])


def batch(legal=None):
    """State 0, actions (1, 0), return 1, discount 0.5, and state 1 a step later."""
    found = {
        "frames": torch.tensor([[[0.0], [1.0]]]),
        "actions": torch.tensor([[1, 0]], dtype=torch.int32),
        "returns": torch.tensor([1.0]),
        "discounts": torch.tensor([0.5]),
        "steps": torch.tensor([1], dtype=torch.uint8),
    }
    if legal is not None:
        found[MASK] = torch.tensor([[[True] * 5, legal]])
    return found


def test_the_loss_is_that_of_a_table_computed_by_hand():
    # Online values choose 4 (branch 1, action 0) and 7 (branch 2, action 2), which the target values at 10 and 50:
    # y = 1 + 0.5 * (10 + 50) / 2 = 16. Taken: 3 and 0. Errors 13 and 16.
    one = {"td": {"n_step": 1}}
    loss = agent(**one, learner={"huber_delta": None}).loss(ONLINE, TARGET, batch())
    assert loss.losses.tolist() == [(13**2 / 2 + 16**2 / 2) / 2]
    assert loss.priorities.tolist() == [(13 + 16) / 2]
    huber = agent(**one).loss(ONLINE, TARGET, batch())
    assert huber.losses.tolist() == [((13 - 0.5) + (16 - 0.5)) / 2]
    # Without double Q the target network chooses too: 20 and 50, y = 1 + 0.5 * 35 = 18.5.
    single = agent(td={"n_step": 1, "double_q": False}).loss(ONLINE, TARGET, batch())
    assert single.priorities.tolist() == [(15.5 + 18.5) / 2]


def test_illegal_actions_of_the_bootstrap_state_are_not_chosen():
    # Legal at state 1: branch 1 action 1 only, branch 2 actions 0 and 1 (online 1 and 1: the first). Target 20, 30.
    legal = [False, True, True, True, False]
    loss = agent(MASKED, td={"n_step": 1}).loss(ONLINE, TARGET, batch(legal))
    assert loss.priorities.tolist() == [((1 + 0.5 * 25 - 3) + (1 + 0.5 * 25 - 0)) / 2]


def test_first_priorities_are_those_of_the_loss():
    mine = agent(td={"n_step": 1}, learner={"huber_delta": None})
    values = ONLINE.rows.numpy()
    window = {
        "q_values": values[None],
        "actions": np.array([[[1, 0]]]),
        "returns": np.ones((1, 1), np.float32),
        "discounts": np.full((1, 1), 0.5, np.float32),
        "steps": np.ones((1, 1), np.uint8),
    }
    # The actor has one network: y = 1 + 0.5 * (4 + 7) / 2 = 3.75; taken 3 and 0.
    assert mine.priorities(window).tolist() == [[(0.75 + 3.75) / 2]]


def test_several_branches_are_learned_by_branching_unless_an_agent_is_named():
    assert type(agent()) is Branching
    assert type(agent(EnvSpec("fake", {"frames": VECTOR}, (6,), 1))) is QLearning


def test_actions_have_a_number_for_each_branch_and_are_legal():
    mine = agent(MASKED, network={"hidden": 8, "mlp_layers": [8]})
    inference = Inference(mine, seed=0)
    rng = np.random.default_rng(0)
    legal = np.array([[[1, 0, 0, 1, 1]], [[0, 1, 1, 0, 0]]], bool)
    seen = {"frames": np.ones((2, 1, 1), np.float32), MASK: legal}
    outputs, _ = inference(seen, {})
    assert outputs["q_values"].shape == (2, 5)
    for epsilon in (0.0, 0.5, 1.0):
        for _ in range(50):
            actions = mine.choose(outputs, np.full(2, epsilon, np.float32), rng)
            assert actions.shape == (2, 2)
            assert all(legal[e, 0, actions[e, 0]] and legal[e, 0, 2 + actions[e, 1]] for e in range(2))


def test_advantages_of_each_branch_are_centred():
    network = agent(network={"hidden": 8, "mlp_layers": [8]}).network()
    features = torch.randn(7, 8)
    values = network.head(features)[..., 0]
    for part in (values[:, :2], values[:, 2:]):
        torch.testing.assert_close(part.mean(1, keepdim=True), network.head.value(features))


def test_other_objectives_are_refused_with_what_to_do():
    with pytest.raises(UserError, match=r"td.objective = 'quantile'.*raise env.max_joint_actions"):
        agent(td={"objective": "quantile"})
    with pytest.raises(UserError, match=r"td.munchausen = 0.9.*without munchausen"):
        agent(td={"munchausen": 0.9})
