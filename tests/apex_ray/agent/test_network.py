import numpy as np
import pytest
import torch

from apex_ray.agent.build import build_agent
from apex_ray.agent.heads import FullPrecisionLinear
from apex_ray.agent.network import Inference, from_arrays, new_network, to_arrays
from apex_ray.config.schema import ApexConfig, EnvConfig, NetworkConfig
from apex_ray.types import EnvSpec

ATARI = EnvSpec.of_frames("ALE/Pong-v5", (84, 84), "uint8", 4, 6, 4)
VECTOR = EnvSpec.of_frames("CartPole-v1", (4,), "float32", 1, 2, 1)
COLOUR = EnvSpec.of_frames("colour", (3, 40, 36), "uint8", 2, 5, 1)


def agent(spec, **network):
    return build_agent(ApexConfig(env=EnvConfig(id=spec.env_id), network=NetworkConfig(**network)), spec)


def q_values(inference, observations):
    outputs, state = inference({"frames": observations}, {})
    assert state == {}
    return outputs["q_values"]


def test_the_nature_network_has_the_papers_size():
    # conv 8,224 + 32,832 + 36,928; two heads of 3,136 x 512 (+ 512) and their outputs 513 and 6 x 513
    expected = 8_224 + 32_832 + 36_928 + 2 * (3_136 * 512 + 512) + 513 + 6 * 513
    assert sum(p.numel() for p in new_network(agent(ATARI)).parameters()) == expected == 3_293_863


@pytest.mark.parametrize("spec", [ATARI, VECTOR, COLOUR])
@pytest.mark.parametrize("dueling", [True, False])
def test_q_values_of_every_kind_of_observation(spec, dueling):
    network = Inference(agent(spec, dueling=dueling, hidden=16), seed=0)
    rng = np.random.default_rng(0)
    observations = rng.integers(0, 255, (3, spec.leaf.stack, *spec.leaf.shape)).astype(spec.leaf.dtype)
    together = q_values(network, observations)
    assert together.shape == (3, spec.num_actions) and together.dtype == np.float32
    np.testing.assert_allclose(q_values(network, observations[1:2])[0], together[1], rtol=1e-4, atol=1e-5)
    changed = observations.copy()
    changed[0, 0] = 0  # the oldest frame matters too
    assert not np.allclose(q_values(network, changed)[0], together[0])


@pytest.mark.parametrize(("hidden", "layers"), [(7, 919), ((7,), 919), ((), 258), ((7, 5), 955)])
def test_heads_have_the_hidden_layers_they_are_told(hidden, layers):
    """(7, 5): 128 x 7 + 7, 7 x 5 + 5, 5 x 2 + 2 = 903 + 40 + 12."""
    head = new_network(agent(VECTOR, dueling=False, hidden=hidden)).head
    assert sum(p.numel() for p in head.parameters()) == layers


def test_dueling_advantages_are_centred():
    network = new_network(agent(VECTOR), seed=1)
    features = torch.randn(7, 128)
    torch.testing.assert_close(network.head(features).mean(1), network.head.value(features), rtol=1e-4, atol=1e-5)


def test_values_add_up_in_float32_under_autocast():
    """A constant beyond bfloat16's 8 bits survives; rounded to bfloat16, 100.05 is 100."""
    layer = FullPrecisionLinear(3, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[100.05, 0.0, 0.0]]))
        layer.bias.zero_()
    with torch.autocast("cpu", torch.bfloat16):
        value = layer(torch.ones(1, 3, dtype=torch.bfloat16))
    assert value.dtype == torch.float32 and value.item() == pytest.approx(100.05, abs=1e-4)


@pytest.mark.parametrize("spec", [ATARI, VECTOR])
def test_inference_in_bf16_is_close_and_takes_float32_weights(spec):
    newest = new_network(agent(spec, hidden=32), seed=5)
    plain, short = (Inference(agent(spec, hidden=32), bf16, seed=6) for bf16 in (False, True))
    dtypes = {p.dtype for p in short.network.parameters()}
    assert dtypes == {torch.bfloat16, torch.float32}, "all but the last layers are short"
    rng = np.random.default_rng(0)
    observations = (rng.random((8, spec.leaf.stack, *spec.leaf.shape)) * 255).astype(spec.leaf.dtype)
    before = q_values(short, observations)
    for inference in (plain, short):
        inference.load(to_arrays(newest))
    expected, values = q_values(plain, observations), q_values(short, observations)
    assert values.dtype == np.float32 and not np.allclose(values, before)
    assert 0 < np.abs(values - expected).max() < 0.02 * np.abs(expected).max()


def test_images_are_scaled_to_one():
    network = new_network(agent(ATARI), seed=1)
    first, *others = network.torso.layers
    white = torch.full((1, 4, 84, 84), 255, dtype=torch.uint8)
    expected = first.weight.sum((1, 2, 3)) + first.bias
    torch.testing.assert_close(first(white)[0, :, 0, 0], expected, rtol=1e-3, atol=1e-4)
    pixels = torch.randint(256, (2, 4, 84, 84), dtype=torch.uint8)
    plain = torch.nn.functional.conv2d(pixels / 255, first.weight, first.bias, first.stride)
    torch.testing.assert_close(first(pixels), plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.torso(pixels), torch.nn.Sequential(*others)(plain), rtol=1e-4, atol=1e-5)


def test_seeds_give_the_same_network_and_leave_torchs_own_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    a, b = (to_arrays(new_network(agent(VECTOR), seed=9)) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert all(np.array_equal(a[k], b[k]) for k in a)
    assert not np.array_equal(
        a["head.value.0.weight"], to_arrays(new_network(agent(VECTOR), seed=8))["head.value.0.weight"]
    )


def test_weights_travel_as_arrays():
    a, b = new_network(agent(ATARI), seed=1), new_network(agent(ATARI), seed=2)
    arrays = to_arrays(a)
    for array in arrays.values():
        array.setflags(write=False)  # as they come out of shared memory
    from_arrays(b, arrays)
    assert all(np.array_equal(v, arrays[k]) for k, v in to_arrays(b).items())
    with pytest.raises(RuntimeError, match=r"head\.value\.0\.weight"):
        from_arrays(b, {k: v for k, v in arrays.items() if k != "head.value.0.weight"})
