"""Noisy layers: their noise by hand, and whose it is when."""

import numpy as np
import pytest
import torch

from apex_ray.agent.build import build_agent
from apex_ray.agent.heads import NoisyLinear
from apex_ray.agent.network import Inference, to_arrays
from apex_ray.config.schema import ApexConfig, EnvConfig, NetworkConfig
from apex_ray.types import EnvSpec

SPEC = EnvSpec.of_frames("fake", (3,), "float32", 1, 4, 1)


def test_the_noise_is_the_papers():
    """Equations 9 to 11: f(e_out) f(e_in) for weights, f(e_out) for biases, f(x) = sign(x) sqrt |x|."""
    layer = NoisyLinear(3, 2).eval()
    torch.testing.assert_close(layer.weight_sigma, torch.full((2, 3), 0.5 / 3**0.5))
    assert layer.weight.abs().max() <= 1 / 3**0.5
    layer.weight_sigma.data.uniform_()
    layer.draw(torch.Generator().manual_seed(1))
    drawn = torch.Generator().manual_seed(1)
    e_in, e_out = (torch.randn(size, generator=drawn) for size in (3, 2))
    f_in, f_out = (e.sign() * e.abs() ** 0.5 for e in (e_in, e_out))
    weight = layer.weight + layer.weight_sigma * torch.outer(f_out, f_in)
    x = torch.randn(5, 3)
    torch.testing.assert_close(layer(x), x @ weight.T + layer.bias + layer.bias_sigma * f_out)


def test_training_draws_anew_each_time_and_a_policy_has_none_of_its_own():
    layer, x = NoisyLinear(3, 2), torch.randn(5, 3)
    torch.manual_seed(0)
    assert not torch.equal(layer(x), layer(x))
    torch.testing.assert_close(layer.eval()(x), x @ layer.weight.T + layer.bias)


@pytest.mark.parametrize("memory", ["none", "lstm"])
def test_actors_draw_with_their_weights_and_evaluations_do_not(memory):
    network = NetworkConfig(mlp_layers=(8,), hidden=8, noisy=True, memory=memory)
    agent = build_agent(ApexConfig(env=EnvConfig(id="fake"), network=network), SPEC)
    one, observations = Inference(agent, seed=1), {"frames": np.ones((2, 1, 3), np.float32)}
    state, params = agent.initial_state(2), to_arrays(Inference(agent, seed=1).network)

    def q_values(*noise):
        one.load(params, noise)
        return one(observations, state)[0]["q_values"]

    mean = one(observations, state)[0]["q_values"]
    assert (q_values(1, 2, 3) == q_values(1, 2, 3)).all()
    assert (q_values(1, 2, 3) != q_values(1, 2, 4)).any() and (q_values(1, 2, 3) != mean).any()
    fresh = Inference(agent, seed=2)
    fresh.load(params)
    np.testing.assert_array_equal(fresh(observations, state)[0]["q_values"], mean)
