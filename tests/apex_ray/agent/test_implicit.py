"""Implicit quantile networks: the loss by hand, what the head embeds, and what it draws when."""

import numpy as np
import pytest
import torch

from apex_ray.agent.build import build_agent
from apex_ray.agent.heads import PlainHead
from apex_ray.agent.implicit import ImplicitHead, ImplicitKwargs, ImplicitQuantiles
from apex_ray.agent.network import new_network
from apex_ray.agent.q_learning import Transitions
from apex_ray.config.schema import ApexConfig, EnvConfig, NetworkConfig, TdConfig
from apex_ray.types import EnvSpec


def config(double_q=True, memory="none", **kwargs):
    td = TdConfig(objective="implicit", objective_kwargs=kwargs, double_q=double_q)
    network = NetworkConfig(mlp_layers=(16,), hidden=8, memory=memory)
    return ApexConfig(env=EnvConfig(id="fake"), td=td, network=network)


def table(rows):
    """A 'network' that looks [A, quantiles | levels] up by the state's number."""
    values = torch.tensor(rows)
    return lambda states: values[states.long()]


def test_the_loss_by_hand():
    # Levels 0.1 and 0.6 in state 0. Online prefers action 1 in state 1 (4 against 5), worth (0, 0) to the target.
    online = table([[[0.0, 2.0, 0.1, 0.6], [5.0, 5.0, 0.1, 0.6]], [[3.0, 5.0, 0.5, 0.9], [1.0, 9.0, 0.5, 0.9]]])
    target = table([[[9.0, 9.0, 0.2, 0.3]] * 2, [[4.0, 8.0, 0.2, 0.3], [0.0, 0.0, 0.2, 0.3]]])
    zero, one = torch.tensor([0]), torch.tensor([1])
    step = Transitions(zero, zero, torch.tensor([1.0]), torch.tensor([0.5]), one)
    # Goals (1, 1): errors of the first quantile 1, 1, of the second -1, -1; Huber of each 1/2.
    # Sides |0.1 - 0| and |0.6 - 1|: 0.1 * 1/2 + 0.4 * 1/2.
    losses, priorities, metrics = ImplicitQuantiles(config(quantiles=2)).loss(online, target, step)
    torch.testing.assert_close(losses, torch.tensor([0.25]))
    assert priorities.tolist() == [0.0] and metrics["q_mean"].item() == 1.0
    # The target network's own choice: action 0, goals (3, 5), errors 3, 5 and 1, 3; Huber 2.5, 4.5 and 0.5, 2.5.
    losses, priorities, _ = ImplicitQuantiles(config(double_q=False, quantiles=2)).loss(online, target, step)
    torch.testing.assert_close(losses, torch.tensor([0.1 * 3.5 + 0.6 * 1.5]))
    assert priorities.tolist() == [3.0]


def test_a_level_is_embedded_as_the_paper_says():
    """Equation 4: relu(sum over i of cos(pi i level) w_ij + b_j), times the features."""
    given = ImplicitKwargs(quantiles=3, cosines=5)
    head = ImplicitHead(PlainHead(4, NetworkConfig(hidden=8), 2, 1), 4, given).eval()
    features = torch.randn(2, 4)
    found = head(features).detach()
    for k, level in enumerate((1 / 6, 3 / 6, 5 / 6)):
        waves = torch.tensor([np.cos(np.pi * i * level) for i in range(1, 6)], dtype=torch.float32)
        embedded = torch.relu(head.embedding.weight @ waves + head.embedding.bias)
        torch.testing.assert_close(found[:, :, k], head.head(features * embedded)[:, :, 0].detach())
        torch.testing.assert_close(found[:, :, 3 + k], torch.full((2, 2), level))


def test_training_draws_levels_for_every_sample_and_a_policy_none():
    head = ImplicitHead(PlainHead(4, NetworkConfig(hidden=8), 2, 1), 4, ImplicitKwargs(quantiles=3))
    features, levels = torch.randn(5, 4), []
    for _ in range(2):
        outputs = head(features)
        levels.append(outputs[:, 0, 3:])
        assert (outputs[:, 0, 3:] == outputs[:, 1, 3:]).all(), "one action's levels are the other's"
    assert len(torch.cat(levels).unique()) == 30
    assert torch.equal(head.eval()(features), head(features))


@pytest.mark.parametrize("memory", ["none", "lstm"])
def test_a_network_of_it_is_built(memory):
    agent = build_agent(config(memory=memory), EnvSpec.of_frames("fake", (4,), "float32", 1, 3))
    network = new_network(agent, seed=1).eval()
    outputs, _ = agent.infer(
        network,
        {name: torch.zeros(2, 1, 4) for name in agent._spec.observation},
        {name: torch.from_numpy(a) for name, a in agent.initial_state(2).items()},
    )
    assert outputs["q_values"].shape == (2, 3)
