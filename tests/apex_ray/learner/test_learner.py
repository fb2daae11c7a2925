"""One whole update against an independent NumPy reference, and what becomes of it."""

import sys
import sysconfig

import numpy as np
import pytest
import torch

from apex_ray.agent.build import build_agent
from apex_ray.agent.network import multiplies_bf16, new_network, to_arrays
from apex_ray.config.schema import ApexConfig, EnvConfig, LearnerConfig, NetworkConfig, ReplayConfig, TdConfig
from apex_ray.learner.hardware import missing_for_compile, resolve_compile, resolve_device
from apex_ray.learner.learner import Learner
from apex_ray.types import Batch, EnvSpec
from trainkit.errors import UserError

SPEC = EnvSpec.of_frames("fake", (3,), "float32", 2, 4, 1)


def make_config(td=None, replay=None, noisy=False, **learner):
    return ApexConfig(
        env=EnvConfig(id="fake"),
        td=TdConfig(n_step=2, **(td or {})),
        replay=ReplayConfig(**(replay or {})),
        network=NetworkConfig(mlp_layers=(8,), hidden=6, noisy=noisy),
        learner=LearnerConfig(**{"batch_size": 5, "target_every_updates": 3, "device": "cpu", **learner}),
    )


def make_batch(rng, size=5):
    fields = {
        "frames": rng.normal(size=(size, 4, 3)).astype(np.float32),
        "actions": rng.integers(0, 4, size),
        "returns": rng.normal(size=size).astype(np.float32),
        "discounts": np.where(rng.random(size) < 0.3, 0, 0.9).astype(np.float32),
        "steps": rng.integers(1, 3, size).astype(np.uint8),
        "ages": np.full(size, 1, np.uint8),
    }
    return Batch(fields, rng.random(size).astype(np.float32), np.arange(size), np.zeros(size, np.int64))


def make_learner(td=None, replay=None, **settings):
    config = make_config(td, replay, **settings)
    return Learner(build_agent(config, SPEC), config)


def forward(params, x):
    """The dueling perceptron in NumPy float64. x [B, S, D]."""
    relu = lambda y: np.maximum(y, 0)  # noqa: E731
    dense = lambda name, y: y @ params[f"{name}.weight"].astype(float).T + params[f"{name}.bias"]  # noqa: E731
    h = relu(dense("torso.layers.0", x.reshape(len(x), -1).astype(float)))
    value = dense("head.value.2", relu(dense("head.value.0", h)))
    advantage = dense("head.advantage.2", relu(dense("head.advantage.0", h)))
    return value + advantage - advantage.mean(1, keepdims=True)


def test_an_update_equals_the_numpy_reference():
    """|TD errors| of a batch, the loss, and its gradient by finite differences."""
    learner, rng = make_learner(max_grad_norm=None), np.random.default_rng(0)
    online, target, _ = learner.state()
    batch = make_batch(rng)
    errors, metrics = learner.update(batch)
    rows, fields = np.arange(5), batch.fields
    before, after = (
        fields["frames"][:, :2],
        np.stack([fields["frames"][b, m : m + 2] for b, m in enumerate(fields["steps"])]),
    )
    bootstrap = forward(target, after)[rows, forward(online, after).argmax(1)]
    goal = fields["returns"] + fields["discounts"] * bootstrap
    expected = goal - forward(online, before)[rows, fields["actions"]]
    np.testing.assert_allclose(errors, np.abs(expected), rtol=1e-4)

    def loss(params):
        error = np.abs(goal - forward(params, before)[rows, fields["actions"]])
        return (batch.weights**0.4 * np.where(error < 1, 0.5 * error**2, error - 0.5)).mean()

    assert metrics["loss"] == pytest.approx(loss(online), rel=1e-4)
    for name in ("head.value.2.weight", "head.advantage.0.bias", "torso.layers.0.weight"):
        gradient = dict(learner.online.named_parameters())[name].grad.numpy()
        index = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        moved = {}
        for sign in (1, -1):
            params = {k: v.astype(float) for k, v in online.items()}
            params[name][index] += sign * 1e-5
            moved[sign] = loss(params)
        assert gradient[index] == pytest.approx((moved[1] - moved[-1]) / 2e-5, rel=1e-3), name


def test_target_network_is_copied_every_n_updates():
    learner, rng = make_learner(), np.random.default_rng(1)
    for update in range(1, 7):
        learner.update(make_batch(rng))
        online, target, _ = learner.state()
        same = all(np.array_equal(online[k], target[k]) for k in online)
        assert same == (update % 3 == 0), f"after update {update}"


def test_the_learning_rate_follows_its_schedule():
    """Adam's first steps are as long as its rate."""
    learner = make_learner(optimizer="adam", epsilon=1e-12, learning_rate_schedule=[[0, 0.01], [2, 0.02], [3, 0.0]])
    batch, rates, moved = make_batch(np.random.default_rng(1)), [], []
    for _ in range(4):
        before = learner.state()[0]["head.value.2.bias"]
        rates.append(learner.learning_rate)
        learner.update(batch)
        moved.append(float(abs(learner.state()[0]["head.value.2.bias"] - before)[0]))
    assert rates == pytest.approx([0.01, 0.015, 0.02, 0.0])
    assert moved[0] == pytest.approx(0.01, rel=1e-3) and moved[3] == 0.0


def test_beta_follows_its_schedule():
    """Importance weights of the batch are those of beta = 1; a beta of 0 corrects nothing."""
    learner = make_learner(replay={"beta_schedule": [[0, 0.0], [2, 1.0]]}, learning_rate=1e-12)
    batch, losses = make_batch(np.random.default_rng(1)), []
    for _ in range(3):
        losses.append(learner.update(batch)[1]["loss"])
    errors, _ = make_learner(learning_rate=1e-12).update(batch)
    huber = np.where(errors < 1, 0.5 * errors**2, errors - 0.5)
    assert losses == pytest.approx([float((batch.weights**beta * huber).mean()) for beta in (0, 0.5, 1)], rel=1e-4)


def test_a_reset_begins_anew_with_heads_and_optimizer_and_goes_halfway_with_the_rest():
    settings = {"reset_every_updates": 2, "reset_share": 0.25, "optimizer": "adam", "learning_rate": 1e-3}
    learner, plain = make_learner(**settings), make_learner(**settings | {"reset_every_updates": None})
    for update in range(1, 3):
        batch = make_batch(np.random.default_rng(update))
        learner.update(batch), plain.update(batch)
    fresh = to_arrays(new_network(learner.agent, seed=make_config().seed + 2))
    (online, target, optimizer), (before, _, _) = learner.state(), plain.state()
    for name, array in online.items():
        kept = 0.0 if name.startswith("head.") else 0.75
        np.testing.assert_allclose(array, kept * before[name] + (1 - kept) * fresh[name], atol=1e-6, err_msg=name)
        np.testing.assert_array_equal(target[name], array)
    assert not optimizer, "nothing that it has learned of gradients"
    again = make_learner(**settings)
    again.load_state(online, target, optimizer, updates=2)
    for update in range(3, 6):
        batch = make_batch(np.random.default_rng(update))
        np.testing.assert_array_equal(learner.update(batch)[0], again.update(batch)[0])


def test_gradient_norm_is_limited():
    rng = np.random.default_rng(2)
    free, limited = make_learner(max_grad_norm=None), make_learner(max_grad_norm=1e-3)
    batch = make_batch(rng)
    norms = [learner.update(batch)[1]["grad_norm"] for learner in (free, limited)]
    assert norms[0] == pytest.approx(norms[1]), "before clipping"
    norm = torch.cat([p.grad.flatten() for p in limited.online.parameters()]).norm().item()
    assert norm == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_it_learns_a_fixed_batch(optimizer):
    learner = make_learner(optimizer=optimizer, learning_rate=3e-3, target_every_updates=10_000)
    batch = make_batch(np.random.default_rng(3))
    first = learner.update(batch)[0].mean()
    for _ in range(300):
        last = learner.update(batch)[0].mean()
    assert last < 0.2 * first


def test_bf16_is_close_to_float32():
    batch = make_batch(np.random.default_rng(4))
    plain = make_learner().update(batch)[0]
    np.testing.assert_allclose(make_learner(bf16=True).update(batch)[0], plain, atol=0.05)


@pytest.mark.skipif(missing_for_compile(torch.device("cpu")) is not None, reason="no compiler on this machine")
def test_a_compiled_update_is_the_same():
    batch = make_batch(np.random.default_rng(8))
    plain, compiled = make_learner(), make_learner(compile=True)
    for _ in range(2):
        expected, found = plain.update(batch)[0], compiled.update(batch)[0]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_compile_needs_a_compiler(monkeypatch):
    cpu = torch.device("cpu")
    assert resolve_compile(False, cpu) is False
    monkeypatch.setenv("CXX", "/no/such/compiler")
    assert "no C++ compiler /no/such/compiler" in missing_for_compile(cpu)
    assert resolve_compile("auto", cpu) is False
    with pytest.raises(UserError, match=r"learner.compile = true, but there is no C\+\+ compiler"):
        make_learner(compile=True)
    monkeypatch.setenv("CXX", sys.executable)  # any program that is there
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": "/no/such/folder"})
    assert "no /no/such/folder/Python.h" in missing_for_compile(cpu)


@pytest.mark.parametrize(
    ("able", "bf16"), [({"amx_bf16": True}, True), ({"avx512_bf16": True}, True), ({"avx512_f": True}, False)]
)
def test_bf16_auto_asks_the_device(monkeypatch, able, bf16):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert multiplies_bf16(torch.device("cpu")) is bf16
    batch = make_batch(np.random.default_rng(6))
    expected = make_learner(bf16=bf16).update(batch)[0]
    np.testing.assert_array_equal(make_learner(bf16="auto").update(batch)[0], expected)


def test_the_next_batch_can_travel_during_an_update():
    """What the learner's loop does: it must not disturb the update under way."""
    rng = np.random.default_rng(7)
    first, second = make_batch(rng), make_batch(rng)
    plain, split = make_learner(), make_learner()
    expected = [plain.update(first), plain.update(second)]
    split.start_update(split.to_device(first))
    following = split.to_device(second)
    found = [split.finish_update()]
    split.start_update(following)
    found.append(split.finish_update())
    for (mine, metrics), (other, reference) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, other)
        assert metrics == reference


@pytest.mark.parametrize(("objective", "noisy"), [("dqn", False), ("dqn", True), ("implicit", False)])
def test_the_state_goes_on_where_it_was(objective, noisy):
    """Also where the network draws random numbers."""
    rng, td = np.random.default_rng(5), {"objective": objective}
    batches = [make_batch(rng) for _ in range(6)]
    whole, first = make_learner(td, noisy=noisy), make_learner(td, noisy=noisy)
    for batch in batches[:3]:
        whole.update(batch), first.update(batch)
    second = make_learner(td, noisy=noisy)
    second.load_state(*first.state(), updates=first.updates)
    for batch in batches[3:]:
        np.testing.assert_array_equal(whole.update(batch)[0], second.update(batch)[0])


def test_divergence_is_a_clear_error():
    learner, batch = make_learner(), make_batch(np.random.default_rng(6))
    batch.fields["returns"][0] = np.inf
    with pytest.raises(UserError, match=r"diverged at update 1.*learning_rate"):
        learner.update(batch)


def test_a_missing_device_is_a_clear_error():
    with pytest.raises(UserError, match=r"learner.device = 'tpu'.*expected auto, cpu or cuda"):
        resolve_device("tpu")
