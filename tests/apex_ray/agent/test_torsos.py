"""Torsos for every kind of leaf, several at once, and running normalisation."""

import numpy as np
import pytest
import torch

from apex_ray.agent.build import build_agent
from apex_ray.agent.network import new_network
from apex_ray.agent.q_network import CombinedTorso, build_torso
from apex_ray.agent.torsos import ConvTorso, MlpTorso, RunningNorm, SmallConvTorso, as_numbers
from apex_ray.config.schema import ApexConfig, EnvConfig, NetworkConfig, TdConfig
from apex_ray.types import EnvSpec, Leaf
from trainkit.errors import UserError

SMALL = Leaf("image", (4, 10, 10), "bool")
LARGE = Leaf("image", (84, 84), "uint8", 4, 1 / 255)
VECTOR = Leaf("vector", (3,), "float32")
CHOICE = Leaf("choice", (2,), "int32", sizes=(2, 3))


def spec(**leaves):
    return EnvSpec("fake", leaves, (3,), 1)


@pytest.mark.parametrize(
    ("leaf", "kind"), [(SMALL, SmallConvTorso), (LARGE, ConvTorso), (VECTOR, MlpTorso), (CHOICE, MlpTorso)]
)
def test_auto_is_a_torso_that_fits(leaf, kind):
    torso = build_torso(spec(frames=leaf), NetworkConfig())
    assert type(torso) is kind
    given = torch.ones((5, leaf.stack, *leaf.shape), dtype=getattr(torch, leaf.dtype))
    assert torso(given).shape == (5, torso.num_features)


def test_small_images_get_minatars_convolution():
    torso = build_torso(spec(frames=SMALL), NetworkConfig(torso_kwargs={"channels": 8}))
    assert torso.num_features == 8 * 10 * 10
    white = torch.ones((1, 1, 4, 10, 10), dtype=torch.bool)
    first = torso.layers[0]
    expected = first.weight.sum((1, 2, 3)) + first.bias
    torch.testing.assert_close(first(white[:, 0])[0, :, 5, 5], expected, rtol=1e-5, atol=1e-5)


def test_choices_are_one_hot():
    given = torch.tensor([[[1, 0]], [[0, 2]]], dtype=torch.int32)
    assert as_numbers(given, CHOICE).tolist() == [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]]


def test_bytes_of_a_vector_are_scaled():
    ram = Leaf("vector", (2,), "uint8", scale=1 / 255)
    given = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    torch.testing.assert_close(as_numbers(given, ram), torch.tensor([[0.0, 1.0]]))


def test_every_leaf_has_a_torso_and_all_of_them_matter():
    both = spec(**{"frames.camera": LARGE, "frames.body": VECTOR, "frames.at": CHOICE})
    torso = build_torso(both, NetworkConfig(torso="impala"))
    assert isinstance(torso, CombinedTorso)
    assert [type(part).__name__ for part in torso.torsos] == ["ImpalaTorso", "MlpTorso", "MlpTorso"]
    torch.manual_seed(0)
    given = {
        "frames.camera": torch.randint(256, (2, 4, 84, 84), dtype=torch.uint8),
        "frames.body": torch.randn(2, 1, 3),
        "frames.at": torch.ones((2, 1, 2), dtype=torch.int32),
    }
    features = torso(given)
    assert features.shape == (2, torso.num_features)
    for name in given:
        changed = {**given, name: torch.zeros_like(given[name])}
        assert not torch.equal(torso(changed), features), name


def test_a_torso_of_ones_own_has_the_whole_observation():
    seen = []

    class Own(torch.nn.Module):
        num_features = 1

        def __init__(self, spec, config):
            super().__init__()
            seen.append(spec)

    globals()["Own"] = Own
    both = spec(**{"frames.a": VECTOR, "frames.b": CHOICE})
    assert isinstance(build_torso(both, NetworkConfig(torso=f"{__name__}:Own")), Own)
    assert seen == [both]


@pytest.mark.parametrize(("torso", "leaf"), [("conv", VECTOR), ("impala", CHOICE), ("small_conv", VECTOR)])
def test_a_torso_of_images_refuses_what_is_none(torso, leaf):
    with pytest.raises(UserError, match=f"network.torso is {torso}, but fake has vectors"):
        build_torso(spec(frames=leaf), NetworkConfig(torso=torso))


def test_an_unknown_torso_is_refused_for_several_leaves_too():
    with pytest.raises(UserError, match=r"network.torso = 'imapla'.*'impala'"):
        build_torso(spec(**{"frames.a": VECTOR, "frames.b": LARGE}), NetworkConfig(torso="imapla"))


def test_running_statistics_are_those_of_all_that_was_learned_from():
    rng = np.random.default_rng(0)
    batches = [rng.normal(3, 5, (size, 2)).astype(np.float32) for size in (7, 1, 30)]
    norm = RunningNorm(2)
    for batch in batches:
        norm(torch.from_numpy(batch))
    whole = np.concatenate(batches).astype(np.float64)
    np.testing.assert_allclose(norm.mean, whole.mean(0), rtol=1e-5)
    np.testing.assert_allclose(norm.square, whole.var(0), rtol=1e-5)
    assert float(norm.count) == len(whole)
    before = norm.mean.clone()
    with torch.no_grad():
        norm(torch.from_numpy(batches[0]) + 100)  # acting, or a target network
    norm.eval()(torch.from_numpy(batches[0]) + 100)
    assert torch.equal(norm.mean, before)
    given = torch.from_numpy(whole.astype(np.float32))
    torch.testing.assert_close(norm(given).mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(norm(given).std(0, correction=0), torch.ones(2), atol=1e-4, rtol=0)


def test_statistics_travel_with_the_weights():
    torso = build_torso(spec(frames=VECTOR), NetworkConfig(normalise=True))
    torso(torch.randn(9, 1, 3) * 4 + 2)
    again = build_torso(spec(frames=VECTOR), NetworkConfig(normalise=True))
    again.load_state_dict(torso.state_dict())
    given = torch.randn(5, 1, 3)
    assert torch.equal(again.eval()(given), torso.eval()(given))


@pytest.mark.parametrize(("torso", "leaf"), [("conv", LARGE), ("auto", LARGE), ("mlp", VECTOR), ("auto", CHOICE)])
def test_settings_of_a_torso_that_takes_none_are_refused(torso, leaf):
    with pytest.raises(UserError, match=r"network.torso_kwargs.channels = 32 has no effect"):
        build_torso(spec(frames=leaf), NetworkConfig(torso=torso, torso_kwargs={"channels": 32}))


def test_settings_of_a_torso_reach_the_leaves_that_it_is_for():
    both = spec(**{"frames.a": VECTOR, "frames.b": SMALL})
    for torso in ("auto", "small_conv"):
        made = build_torso(both, NetworkConfig(torso=torso, torso_kwargs={"channels": 5}))
        assert made.torsos[1].num_features == 5 * 10 * 10


def test_settings_of_an_objective_that_takes_none_are_refused():
    config = ApexConfig(env=EnvConfig(id="fake"), td=TdConfig(objective_kwargs={"quantiles": 51}))
    with pytest.raises(UserError, match=r"td.objective_kwargs.quantiles = 51 has no effect"):
        build_agent(config, spec(frames=VECTOR)).network()


def test_layer_normalisation_stands_before_each_relu():
    """Of an image's features all together; of each hidden layer's, of torso and heads, too."""
    config = NetworkConfig(layer_norm=True, mlp_layers=(8, 8), hidden=8, torso_kwargs={})
    mlp, given = build_torso(spec(frames=VECTOR), config), torch.randn(5, 1, 3)
    wide = mlp.layers[0](given[:, 0])
    centred = (wide - wide.mean(1, keepdim=True)) / (wide.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(mlp.layers[1](wide), centred)
    assert [type(layer).__name__ for layer in mlp.layers] == ["Linear", "LayerNorm", "ReLU"] * 2
    small = build_torso(spec(frames=SMALL), config)
    features = small.layers[1](small.layers[0](torch.randint(2, (5, 4, 10, 10), dtype=torch.bool)))
    torch.testing.assert_close(features.mean((1, 2, 3)), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(features.var((1, 2, 3), correction=0), torch.ones(5), atol=1e-2, rtol=0)
    assert sum(isinstance(m, torch.nn.GroupNorm) for m in build_torso(spec(frames=LARGE), config).modules()) == 3
    settings = ApexConfig(env=EnvConfig(id="fake"), network=config)
    head = new_network(build_agent(settings, spec(frames=VECTOR)), seed=0).head
    assert [type(layer).__name__ for layer in head.value] == ["Linear", "LayerNorm", "ReLU", "FullPrecisionLinear"]
