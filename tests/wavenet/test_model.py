"""Causality and receptive field of every configuration, by autograd; conditions that arrive where they should."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from wavenet.config import ModelConfig, TrainingConfig
from wavenet.learning import Learner
from wavenet.model import Upsampling, WaveNet

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


def upsampling_of(upsampling, features=40, channels=24):
    return Upsampling(ModelConfig(local_features=features, local_channels=channels, upsampling=upsampling))


@pytest.mark.parametrize("strides", [(10, 16), (5, 3), (7,), (1, 4)])
def test_at_the_start_frames_are_interpolated_linearly_and_projected_to_unit_variance(strides):
    torch.manual_seed(0)
    upsampling, mean, scale = upsampling_of(strides), torch.linspace(-9, 9, 40), torch.linspace(0.2, 5, 40)
    upsampling.normalise(mean, scale)
    frames = mean + scale * torch.randn(1, 60, 40)
    with torch.no_grad():
        found = upsampling(frames).transpose(1, 2)
        wanted = functional.conv1d(((frames - mean) / scale).transpose(1, 2), upsampling.first.weight[:, :, 1:2])
        assert 0.8 < wanted.std() < 1.2, "of frames whose features have variance 1"
        for stride in strides:
            wanted = functional.interpolate(wanted, scale_factor=stride, mode="linear")
    frame = found.shape[2] // 60
    inside = slice(2 * frame, -2 * frame)  # beyond the ends there is nothing to interpolate with
    torch.testing.assert_close(found[:, :, inside], wanted[:, :, inside], atol=1e-4, rtol=1e-3)


def test_one_stage_passes_through_the_frames_by_hand():
    upsampling = upsampling_of((4,), features=1, channels=1)
    upsampling.first.weight.data[0, 0, 1] = 1.0
    found = upsampling(torch.tensor([0.0, 8.0, 0.0, -16.0, 0.0]).reshape(1, 5, 1))[0, :, 0]
    # A frame's middle lies between its second and its third sample: 1/8 of the way, 3/8, ... to the next.
    assert found[2:18].tolist() == [1, 3, 5, 7, 7, 5, 3, 1, -2, -6, -10, -14, -14, -10, -6, -2]


def test_weights_from_before_frames_were_normalised_are_the_function_that_they_were():
    torch.manual_seed(0)
    config = ModelConfig(layers_per_cycle=2, cycles=1, residual=4, skip=4, head=4, local_features=3, local_channels=5,
                         upsampling=(4, 3))  # fmt: skip
    first, *stages = (torch.nn.Conv1d(3, 5, 3, padding=1), torch.nn.ConvTranspose1d(5, 5, 8, 4, 2),
                      torch.nn.ConvTranspose1d(5, 5, 6, 3, 2, 1))  # fmt: skip
    weights = WaveNet(config).state_dict()
    for name in ("mean", "scale", "slope"):
        del weights[f"conditions.upsampling.{name}"]
    for name, layer in (("first", first), ("stages.0", stages[0]), ("stages.1", stages[1])):
        weights |= {f"conditions.upsampling.{name}.{part}": p for part, p in layer.state_dict().items()}
    frames = torch.randn(2, 6, 3)
    x = first(frames.transpose(1, 2))
    for stage in stages:
        x = stage(functional.leaky_relu(x, 0.4))
    model = WaveNet(config)
    model.conditions.upsampling.normalise(torch.ones(3), torch.full((3,), 2.0))
    model.load_state_dict(weights)
    torch.testing.assert_close(model.conditions.upsampling(frames), x.transpose(1, 2))
    learner = Learner(model, model, TrainingConfig(), 1, torch.as_tensor)
    learner.load(weights, weights, {"optimizer": {}, "step": 3})
    torch.testing.assert_close(learner.averaged().conditions.upsampling(frames), x.transpose(1, 2))
    assert learner.average["conditions.upsampling.scale"].tolist() == [1, 1, 1], "what is saved is complete"
