"""Causality and receptive field of every configuration, by autograd; conditions that arrive where they should."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from wavenet.config import ModelConfig
from wavenet.model import WaveNet

configs = st.builds(
    ModelConfig,
    cycles=st.integers(1, 2),
    layers_per_cycle=st.integers(1, 3),
    kernel=st.integers(2, 3),
    input_kernel=st.integers(1, 3),
    residual=st.just(4),
    skip=st.just(5),
    head=st.just(6),
    output=st.sampled_from(["softmax", "logistics"]),
    mixtures=st.just(2),
    speakers=st.sampled_from([0, 3]),
    local_features=st.sampled_from([0, 2]),
    local_channels=st.just(4),
    upsampling=st.sampled_from([(2,), (3, 2), (5,)]),
)


def random_inputs(config, length):
    """Samples that have gradients, and conditions."""
    if config.output == "softmax":
        samples = functional.one_hot(torch.randint(256, (1, length)), 256).double()
    else:
        samples = torch.rand(1, length, dtype=torch.float64) * 2 - 1
    speakers = torch.tensor([1]) if config.speakers else None
    frames = None
    if config.local_features:
        frames = torch.randn(1, -(-length // config.frame_samples), config.local_features, dtype=torch.float64)
    return samples.requires_grad_(), speakers, frames


@given(configs, st.integers(0, 100))
@settings(max_examples=40)
def test_an_output_depends_on_exactly_the_receptive_field_before_it(config, seed):
    torch.manual_seed(seed)
    model, length = WaveNet(config).double(), config.receptive_field + 4
    for i in (0, 2):
        model.head[i] = torch.nn.Identity()  # ReLUs shut some ways: what matters here is how far the network is wired
    samples, *conditions = random_inputs(config, length)
    output = model(samples, *conditions)[0, -1]
    (gradient,) = torch.autograd.grad((output * torch.randn_like(output)).sum(), samples)
    reach = gradient[0].reshape(length, -1).abs().sum(1) > 0
    expected = torch.zeros(length, dtype=torch.bool)
    expected[length - 1 - config.receptive_field : length - 1] = True
    assert torch.equal(reach, expected), (reach.int().tolist(), config.receptive_field)


@given(configs, st.floats(0, 0.99))
@settings(max_examples=25)
def test_outputs_from_a_step_on_are_those_of_all(config, part):
    """Whether or not what they depend on lies within the sequence: forward, and the gradient of every weight."""
    torch.manual_seed(0)
    model, length = WaveNet(config).double(), config.receptive_field + 12
    first, inputs = int(part * length), random_inputs(config, length)
    found = []
    for outputs in (model(*inputs)[:, first:], model(*inputs, first=first)):
        weights = torch.linspace(-1, 1, outputs.numel(), dtype=torch.float64).reshape(outputs.shape)
        gradients = torch.autograd.grad((outputs * weights).sum(), list(model.parameters()), materialize_grads=True)
        found.append([outputs, *gradients])
    for of_all, of_some in zip(*found, strict=True):
        torch.testing.assert_close(of_some, of_all, atol=1e-10, rtol=1e-9)


def test_classes_looked_up_are_one_hot_vectors_multiplied():
    model = WaveNet(ModelConfig(layers_per_cycle=3, cycles=1, residual=8, skip=8, head=8)).double()
    codes = torch.randint(256, (2, 30))
    one_hot = functional.one_hot(codes, 256).double()
    torch.testing.assert_close(model(codes), model(one_hot), rtol=0, atol=1e-12)


def test_the_usual_sizes():
    config = ModelConfig()
    assert config.dilations == (1, 2, 4, 8, 16, 32, 64, 128, 256, 512) * 3 and config.receptive_field == 3 * 1023 + 2


@pytest.mark.parametrize("upsampling", [(10, 16), (5, 3), (7,), (2, 2, 2)])
def test_a_frame_reaches_its_own_samples_and_its_neighbours(upsampling):
    config = ModelConfig(
        layers_per_cycle=2, cycles=1, residual=4, skip=4, head=4, local_features=3, local_channels=4,
        upsampling=upsampling,
    )  # fmt: skip
    model, n = WaveNet(config).double(), 9
    frames = torch.randn(1, n, 3, dtype=torch.float64, requires_grad=True)
    h = model.conditions.upsampling(frames)
    assert h.shape == (1, n * config.frame_samples, 4)
    middle = config.frame_samples * 4 + config.frame_samples // 2
    (gradient,) = torch.autograd.grad(h[0, middle].sum(), frames)
    reached = gradient[0].abs().sum(1).nonzero().flatten().tolist()
    assert 4 in reached and reached[0] >= 1 and reached[-1] <= 7, "near its own frame, on both sides"


def test_speakers_differ():
    model = WaveNet(ModelConfig(layers_per_cycle=2, cycles=1, residual=8, skip=8, head=8, speakers=2))
    codes = torch.randint(256, (1, 10)).expand(2, -1)
    one, two = model(codes, torch.tensor([0, 1]))
    assert not torch.allclose(one, two)
