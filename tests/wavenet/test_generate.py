"""Generation by ring buffers against the whole network computed anew for every sample."""

import numpy as np
import pytest
import torch

from trainkit.errors import UserError
from wavenet.config import ModelConfig
from wavenet.fast.draw import draw_class, draw_logistic
from wavenet.fast.kernel import gated
from wavenet.generate import Generator, sound, stream
from wavenet.graphed import GraphedGenerator
from wavenet.model import WaveNet

SMALL = {"cycles": 2, "layers_per_cycle": 4, "residual": 20, "skip": 24, "head": 18}
CONDITIONED = {"speakers": 3, "local_features": 5, "local_channels": 7, "upsampling": (5, 4)}


def build(**settings):
    torch.manual_seed(0)
    model = WaveNet(ModelConfig(**{**SMALL, **settings})).eval()
    for parameter in model.parameters():
        parameter.data *= 1.5  # sharper than at the start of training, so that a wrong number shows
    return model


def naive(model, heard, **conditions):
    """What the network expects at each sample of `heard` [N, streams], computed anew for each from those before it."""
    samples = torch.from_numpy(heard.T.copy())
    samples = samples.long() if model.config.output == "softmax" else samples
    with torch.no_grad():
        return np.stack([model(samples[:, :n], **conditions)[:, -1].numpy() for n in range(1, len(heard) + 1)])


@pytest.mark.parametrize(
    ("output", "kernel", "input_kernel", "conditions"),
    [("softmax", 2, 2, {}), ("softmax", 2, 2, CONDITIONED), ("logistics", 3, 1, {}), ("logistics", 2, 2, CONDITIONED)],
    ids=["classes", "classes-conditioned", "numbers-three-taps", "numbers-conditioned"],
)
def test_cached_is_naive(output, kernel, input_kernel, conditions):
    model = build(output=output, kernel=kernel, input_kernel=input_kernel, **conditions)
    n, streams, c = 2000 if kernel == 2 else 300, 2, model.config
    given, local = {}, None
    if conditions:
        given = {"speakers": torch.tensor([0, 2]), "frames": torch.randn(streams, n // 20, 5)}
        local = model.conditions.upsampling(given["frames"])
    generator = Generator(model, streams, "float32", seed=3, speakers=given.get("speakers"))
    heard = generator.run(n, local)
    with torch.no_grad():
        samples = torch.from_numpy(heard.T.copy())
        whole = model(samples.long() if output == "softmax" else samples, **given).transpose(0, 1).numpy()
    again = Generator(model, streams, "float32", seed=3, speakers=given.get("speakers"))
    said = again.listen(heard, local)
    np.testing.assert_allclose(said, whole, atol=1e-4)
    # The whole network at once is, at some samples, compared with itself seeing no more than what is before them.
    few = naive(model, heard[:60], **{k: v[:, :3] if k == "frames" else v for k, v in given.items()})
    if not conditions:
        np.testing.assert_allclose(said[:60], few, atol=1e-4)
    uniforms = np.random.default_rng(3).random((n, streams, 2), np.float32)
    scratch = np.empty(c.outputs, np.float32)
    for t in range(n):
        for b in range(streams):
            if output == "softmax":
                drawn = draw_class(whole[t, b], 256, uniforms[t, b, 0], np.float32(1), 256, scratch)
                assert drawn == heard[t, b]
            else:
                one, other = uniforms[t, b]
                drawn = draw_logistic(whole[t, b], c.mixtures, one, other, np.float32(1), c.mixtures, scratch)
                assert drawn == pytest.approx(heard[t, b], abs=1e-3)


@pytest.mark.parametrize("streams", [1, 6])
def test_chunks_are_the_unbroken_stream_and_streams_do_not_mix(streams):
    model = build()
    whole = Generator(model, streams, "float32", seed=1).run(200)
    parts = Generator(model, streams, "float32", seed=1)
    np.testing.assert_array_equal(np.concatenate([parts.run(n) for n in (1, 7, 150, 42)]), whole)
    alone = Generator(model, 1, "float32")
    np.testing.assert_allclose(
        alone.listen(whole[:, -1:])[:, 0], Generator(model, streams, "float32").listen(whole)[:, -1], atol=1e-4
    )


@pytest.mark.parametrize(("kind", "off"), [("bfloat16", 0.03), ("int8", 0.06)])
def test_packed_weights_are_the_rounded_ones(kind, off):
    """Not near the exact network only, but equal to one whose weights were rounded beforehand."""
    model, rounded = build(), build()
    for name, p in rounded.named_parameters():
        if "weight" in name and "input" not in name:
            if kind == "bfloat16" or name == "head.3.weight":
                p.data = p.data.bfloat16().float()
            else:
                scale = p.data.abs().amax(1, keepdim=True) / 127
                p.data = (p.data / scale).round() * scale
    given = np.random.default_rng(0).integers(0, 256, (300, 1)).astype(np.float32)
    packed, exact = Generator(model, 1, kind).listen(given), Generator(model, 1, "float32").listen(given)
    np.testing.assert_allclose(packed, Generator(rounded, 1, "float32").listen(given), atol=2e-4)
    error = np.abs(packed - exact).mean() / np.abs(exact).mean()
    assert 0 < error < off


def test_priming_with_a_recording():
    model = build()
    given = np.random.default_rng(0).integers(0, 256, (50, 1)).astype(np.float32)
    heard = Generator(model, 1, "float32", seed=5).run(80, given=given)
    np.testing.assert_array_equal(heard[:50], given)
    other = Generator(model, 1, "float32", seed=5).run(80)
    assert not np.array_equal(heard[50:], other[50:])


def test_draws_follow_the_probabilities():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 256).astype(np.float32)
    scratch = np.empty(256, np.float32)
    for temperature, top_k in ((1.0, 256), (0.5, 256), (1.0, 5)):
        p = np.exp(logits / temperature)
        p[logits < np.sort(logits)[-top_k]] = 0
        p /= p.sum()
        drawn = [
            draw_class(logits, 256, u, np.float32(1 / temperature), top_k, scratch)
            for u in rng.random(20_000).astype(np.float32)
        ]
        seen = np.bincount(drawn, minlength=256) / 20_000
        assert np.abs(seen - p).max() < 0.015 and not seen[p == 0].any()


def test_gates_are_tanh_times_sigmoid():
    f, g = (a.astype(np.float32) for a in np.meshgrid(np.linspace(-12, 12, 401), np.linspace(-25, 25, 401)))
    exact = np.tanh(f.astype(np.float64)) / (1 + np.exp(-g.astype(np.float64)))
    ours = np.array([gated(a, b) for a, b in zip(f.ravel(), g.ravel(), strict=True)]).reshape(f.shape)
    assert np.abs(ours - exact).max() < 1e-6


def test_temperature_zero_takes_the_likeliest():
    model = build()
    heard = Generator(model, 1, "float32", temperature=0).run(100)
    expected = Generator(model, 1, "float32").listen(heard)
    np.testing.assert_array_equal(heard, expected.argmax(-1))


def test_temperature_zero_takes_the_likeliest_logistics_mean():
    model = build(output="logistics")
    heard = Generator(model, 2, temperature=0).run(50)
    logits, means, _ = np.split(Generator(model, 2).listen(heard), 3, axis=-1)
    likeliest = np.take_along_axis(means, logits.argmax(-1, keepdims=True), -1)[..., 0]
    np.testing.assert_allclose(heard, likeliest.clip(-1, 1), atol=1e-5)


def test_a_stream_of_sound():
    model = build(output="logistics")
    chunks = list(stream(Generator(model, 2, seed=1), 100, 32))
    assert [len(chunk) for chunk in chunks] == [32, 32, 32, 4]
    assert all(np.abs(chunk).max() <= 1 for chunk in chunks)
    assert sound(np.array([[128.0]], np.float32), "softmax")[0, 0] == 0


@pytest.mark.parametrize(
    ("settings", "arguments", "told"),
    [
        ({}, {"speakers": torch.tensor([0])}, "0 speakers; expected none"),
        ({"speakers": 2}, {}, "2 speakers; expected one a stream"),
        ({}, {"temperature": -1.0}, "expected at least 0"),
        ({}, {"temperature": float("nan")}, "expected at least 0"),
        ({}, {"top_k": 0}, "at least 1"),
        ({"output": "logistics"}, {"top_k": 3}, "draws no classes"),
        ({"speakers": 2}, {"streams": 4, "speakers": torch.tensor([0, 1])}, "expected one a stream"),
    ],
)
def test_settings_that_do_not_fit_the_model(settings, arguments, told):
    with pytest.raises(UserError, match=told):
        Generator(build(**settings), **arguments)
    with pytest.raises(UserError, match=told):
        GraphedGenerator(build(**settings), **{"streams": 1, **arguments}, device=torch.device("cpu"))
