"""Action masks: what is illegal is never chosen, and never bootstrapped from."""

import numpy as np
import pytest
import torch

from apex_ray.agent.build import build_agent
from apex_ray.agent.exploration import epsilon_greedy
from apex_ray.agent.network import Inference
from apex_ray.agent.q_learning import masked
from apex_ray.config.schema import ApexConfig, EnvConfig
from apex_ray.types import MASK, EnvSpec, Leaf

SPEC = EnvSpec("fake", {"frames": Leaf("vector", (1,), "float32"), MASK: Leaf("mask", (3,), "bool")}, (3,), 1)
CONFIG = {"env": EnvConfig(id="fake", frame_stack=1), "network": {"mlp_layers": [4], "hidden": 4}}


class Table(torch.nn.Module):
    def __init__(self, rows, outputs=1):
        super().__init__()
        self.rows, self.outputs = torch.tensor(rows), outputs

    def forward(self, observations):
        return self.rows[observations["frames"][:, -1, 0].long()][..., None].expand(-1, -1, self.outputs)


def sample(legal):
    """State 0, action 1, return 1, discount 0.5, state 1 a step later in which only some actions are legal."""
    return {
        "frames": torch.tensor([[[0.0], [1.0]]]),
        MASK: torch.tensor([[[True, True, True], legal]]),
        "actions": torch.tensor([1], dtype=torch.int32),
        "returns": torch.tensor([1.0]),
        "discounts": torch.tensor([0.5]),
        "steps": torch.tensor([1], dtype=torch.uint8),
    }


ONLINE, TARGET = [[0.0, 2.0, 0.0], [9.0, 4.0, 6.0]], [[0.0, 0.0, 0.0], [90.0, 40.0, 60.0]]


@pytest.mark.parametrize(
    ("legal", "double", "bootstrap"),
    [
        ([True, True, True], True, 90.0),
        ([False, True, True], True, 60.0),  # the online network's best of the legal ones
        ([False, True, False], True, 40.0),
        ([False, True, True], False, 60.0),  # the target network's own best of them
        ([False, False, False], True, 90.0),  # as after an end: all are
    ],
)
@pytest.mark.parametrize("objective", ["dqn", "quantile"])
def test_targets_are_of_legal_actions(objective, legal, double, bootstrap):
    td = {"n_step": 1, "double_q": double, "objective": objective}
    agent = build_agent(ApexConfig(**CONFIG, td=td), SPEC)
    outputs = agent._objective.outputs
    loss = agent.loss(Table(ONLINE, outputs), Table(TARGET, outputs), sample(legal))
    assert loss.priorities.tolist() == [abs(1 + 0.5 * bootstrap - 2)]


def test_first_priorities_are_of_legal_actions():
    agent = build_agent(ApexConfig(**CONFIG, td={"n_step": 1}), SPEC)
    values = masked(torch.tensor(ONLINE), torch.tensor([[True] * 3, [False, True, True]])).numpy()
    window = {
        "q_values": values[None],
        "actions": np.array([[1]]),
        "returns": np.ones((1, 1), np.float32),
        "discounts": np.full((1, 1), 0.5, np.float32),
        "steps": np.ones((1, 1), np.uint8),
    }
    assert agent.priorities(window).tolist() == [[1 + 0.5 * 6 - 2]]


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_no_epsilon_takes_an_illegal_action_and_all_legal_ones_are_explored_evenly(epsilon):
    rng = np.random.default_rng(0)
    values = np.array([[5.0, -np.inf, 1.0, 2.0], [-np.inf, -np.inf, -np.inf, 0.0]], np.float32)
    chosen = np.stack([epsilon_greedy(values, np.full(2, epsilon, np.float32), rng) for _ in range(6000)])
    assert set(chosen[:, 1]) == {3}
    shares = np.bincount(chosen[:, 0], minlength=4) / len(chosen)
    np.testing.assert_allclose(shares, [1 - epsilon * 2 / 3, 0, epsilon / 3, epsilon / 3], atol=0.02)


def test_the_network_gives_illegal_actions_no_value():
    agent = build_agent(ApexConfig(**CONFIG), SPEC)
    legal = np.array([[[True, False, True]], [[False, False, False]]])
    outputs, _ = Inference(agent, seed=0)({"frames": np.ones((2, 1, 1), np.float32), MASK: legal}, {})
    assert np.isneginf(outputs["q_values"]).tolist() == [[False, True, False], [False, False, False]]
