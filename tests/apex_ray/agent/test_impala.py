"""The residual torso: its size by arithmetic, any frame size, and its learning."""

import numpy as np
import pytest
import torch

from apex_ray.agent.build import build_agent
from apex_ray.agent.network import new_network
from apex_ray.config.schema import ApexConfig, EnvConfig, NetworkConfig
from apex_ray.types import EnvSpec
from trainkit.errors import UserError

PONG = EnvSpec.of_frames("ALE/Pong-v5", (84, 84), "uint8", 4, 6, 4)


def torso(spec, **kwargs):
    network = NetworkConfig(torso="impala", torso_kwargs=kwargs)
    return new_network(build_agent(ApexConfig(env=EnvConfig(id=spec.env_id), network=network), spec), seed=0).torso


def conv(a, b):
    return 9 * a * b + b


def test_its_size_is_the_papers():
    # Each section: the convolution in, then two blocks of two convolutions.
    expected = sum(conv(a, b) + 4 * conv(b, b) for a, b in ((4, 16), (16, 32), (32, 32)))
    assert sum(p.numel() for p in torso(PONG).parameters()) == expected == 97_744
    assert torso(PONG).num_features == 32 * 6 * 6


@pytest.mark.parametrize("shape", [(84, 84), (64, 96), (3, 40, 36)])
def test_every_frame_size_gives_the_same_features(shape):
    spec = EnvSpec.of_frames("fake", shape, "uint8", 2, 5, 1)
    one = torso(spec, width=2, pool=4)
    images = torch.randint(256, (3, 2, *shape), dtype=torch.uint8)
    assert one(images).shape == (3, one.num_features) == (3, 64 * 16)


def test_pixels_are_scaled_to_one():
    one = torso(PONG)
    first, images = one.layers[0], torch.randint(256, (2, 4, 84, 84), dtype=torch.uint8)
    plain = torch.nn.functional.conv2d(images / 255, first.weight, first.bias, padding=1)
    torch.testing.assert_close(first(images), plain, rtol=1e-4, atol=1e-5)


def test_it_can_be_told_what_is_wrong():
    with pytest.raises(UserError, match=r"network.torso_kwargs.widht = 2.*Did you mean 'width'"):
        torso(PONG, widht=2)
    with pytest.raises(UserError, match="has vectors of 3 numbers"):
        torso(EnvSpec.of_frames("fake", (3,), "float32", 1, 2, 1))


def test_gradients_reach_the_first_layer():
    one = torso(PONG)
    one(torch.randint(256, (2, 4, 84, 84), dtype=torch.uint8)).sum().backward()
    assert np.abs(one.layers[0].weight.grad.numpy()).max() > 0


def test_with_spectral_norm_no_convolution_of_a_block_makes_more_of_what_it_gets():
    """The largest singular value of each is 1, also where its weights are ten times as large."""
    one = torso(PONG, spectral_norm=True)
    images = torch.randint(256, (1, 4, 84, 84), dtype=torch.uint8)
    blocks = [module for module in one.modules() if type(module).__name__ == "ResidualBlock"]
    with torch.no_grad():
        for block in blocks:
            block.first.parametrizations.weight.original.mul_(10)
    for _ in range(30):  # each call in training is a step of power iteration
        one(images)
    weights = [conv.weight.flatten(1) for block in blocks for conv in (block.first, block.second)]
    assert len(weights) == 12
    for weight in weights:
        assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1, rel=0.05)
