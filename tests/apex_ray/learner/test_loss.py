"""Targets and losses by hand, and one whole update against an independent NumPy reference."""

import sys
import sysconfig

import numpy as np
import pytest
import torch

from apex_ray.config.schema import ApexConfig, EnvConfig, LearnerConfig, NetworkConfig, TdConfig
from apex_ray.learner.hardware import missing_for_compile, resolve_compile, resolve_device
from apex_ray.learner.learner import Learner
from apex_ray.learner.loss import split_states, td_errors, weighted_loss
from apex_ray.networks.build import multiplies_bf16
from apex_ray.types import Batch, EnvSpec
from trainkit.errors import UserError


def table(rows):
    """A 'network' that looks Q-values up by the state's number."""
    values = torch.tensor(rows)
    return lambda states: values[states.long()]


def test_double_q_by_hand():
    online = table([[1.0, 3.0], [5.0, 2.0]])
    target = table([[10.0, 20.0], [30.0, 70.0]])
    states, next_states = torch.tensor([0, 0]), torch.tensor([1, 1])
    arguments = (states, torch.tensor([1, 0]), torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.0]), next_states)
    # online prefers action 0 in state 1, which the target values 30: 0.5 + 0.25 * 30 - 3 = 5; terminal: 0.5 - 1
    errors, taken = td_errors(online, target, *arguments, double_q=True)
    assert errors.tolist() == [5.0, -0.5] and taken.tolist() == [3.0, 1.0]
    # without double Q the target's own maximum 70 counts: 0.5 + 0.25 * 70 - 3
    errors, _ = td_errors(online, target, *arguments, double_q=False)
    assert errors.tolist() == [15.0, -0.5]


def test_huber_and_squared_by_hand():
    errors, weights = torch.tensor([0.5, -3.0]), torch.tensor([1.0, 0.5])
    # Huber, delta 1: 0.125 and 3 - 0.5 = 2.5; weighted mean (0.125 + 1.25) / 2
    assert weighted_loss(errors, weights, 1.0).item() == pytest.approx(0.6875)
    # half squares: 0.125 and 4.5; (0.125 + 2.25) / 2
    assert weighted_loss(errors, weights, None).item() == pytest.approx(1.1875)


def test_states_are_cut_out_of_the_frames():
    frames = torch.arange(2 * 7).reshape(2, 7)  # S = 4, n = 3
    states, bootstrap = split_states(frames, torch.tensor([3, 1]), 4)
    assert states.tolist() == [[0, 1, 2, 3], [7, 8, 9, 10]]
    assert bootstrap.tolist() == [[3, 4, 5, 6], [8, 9, 10, 11]]


SPEC = EnvSpec("fake", (3,), "float32", 2, 4, 1)


def make_config(**learner):
    return ApexConfig(
        env=EnvConfig(id="fake"),
        td=TdConfig(n_step=2),
        network=NetworkConfig(mlp_layers=(8,), hidden=6),
        learner=LearnerConfig(**{"batch_size": 5, "target_every_updates": 3, "device": "cpu", **learner}),
    )


def make_batch(rng, size=5):
    return Batch(
        frames=rng.normal(size=(size, 4, 3)).astype(np.float32),
        actions=rng.integers(0, 4, size),
        returns=rng.normal(size=size).astype(np.float32),
        discounts=np.where(rng.random(size) < 0.3, 0, 0.9).astype(np.float32),
        steps=rng.integers(1, 3, size).astype(np.uint8),
        ages=np.full(size, 1, np.uint8),
        weights=rng.random(size).astype(np.float32),
        slots=np.arange(size),
        generations=np.zeros(size, np.int64),
    )


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
    learner, rng = Learner(SPEC, make_config(max_grad_norm=None)), np.random.default_rng(0)
    online, target, _ = learner.state()
    batch = make_batch(rng)
    errors, stats = learner.update(batch)
    rows = np.arange(5)
    after = np.stack([batch.frames[b, m : m + 2] for b, m in enumerate(batch.steps)])
    goal = batch.returns + batch.discounts * forward(target, after)[rows, forward(online, after).argmax(1)]
    expected = goal - forward(online, batch.frames[:, :2])[rows, batch.actions]
    np.testing.assert_allclose(errors, np.abs(expected), rtol=1e-4)

    def loss(params):
        error = np.abs(goal - forward(params, batch.frames[:, :2])[rows, batch.actions])
        return (batch.weights * np.where(error < 1, 0.5 * error**2, error - 0.5)).mean()

    assert stats.loss == pytest.approx(loss(online), rel=1e-4)
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
    learner, rng = Learner(SPEC, make_config()), np.random.default_rng(1)
    for update in range(1, 7):
        learner.update(make_batch(rng))
        online, target, _ = learner.state()
        same = all(np.array_equal(online[k], target[k]) for k in online)
        assert same == (update % 3 == 0), f"after update {update}"


def test_gradient_norm_is_limited():
    rng = np.random.default_rng(2)
    free, limited = Learner(SPEC, make_config(max_grad_norm=None)), Learner(SPEC, make_config(max_grad_norm=1e-3))
    batch = make_batch(rng)
    assert free.update(batch)[1].grad_norm == pytest.approx(limited.update(batch)[1].grad_norm)  # before clipping
    norm = torch.cat([p.grad.flatten() for p in limited.online.parameters()]).norm().item()
    assert norm == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_it_learns_a_fixed_batch(optimizer):
    learner = Learner(SPEC, make_config(optimizer=optimizer, learning_rate=3e-3, target_every_updates=10_000))
    batch = make_batch(np.random.default_rng(3))
    first = learner.update(batch)[0].mean()
    for _ in range(300):
        last = learner.update(batch)[0].mean()
    assert last < 0.2 * first


def test_bf16_is_close_to_float32():
    batch = make_batch(np.random.default_rng(4))
    plain = Learner(SPEC, make_config()).update(batch)[0]
    np.testing.assert_allclose(Learner(SPEC, make_config(bf16=True)).update(batch)[0], plain, atol=0.05)


@pytest.mark.skipif(missing_for_compile(torch.device("cpu")) is not None, reason="no compiler on this machine")
def test_a_compiled_update_is_the_same():
    batch = make_batch(np.random.default_rng(8))
    plain, compiled = Learner(SPEC, make_config()), Learner(SPEC, make_config(compile=True))
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
        Learner(SPEC, make_config(compile=True))
    monkeypatch.setenv("CXX", sys.executable)  # any program that is there
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": "/no/such/folder"})
    assert "no /no/such/folder/Python.h" in missing_for_compile(cpu)


@pytest.mark.parametrize("amx", [True, False])
def test_bf16_auto_asks_the_device(monkeypatch, amx):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx})
    assert multiplies_bf16(torch.device("cpu")) is amx
    batch = make_batch(np.random.default_rng(6))
    expected = Learner(SPEC, make_config(bf16=amx)).update(batch)[0]
    np.testing.assert_array_equal(Learner(SPEC, make_config(bf16="auto")).update(batch)[0], expected)


def test_the_next_batch_can_be_staged_during_an_update():
    """What the learner's loop does: it must not disturb the update under way."""
    rng = np.random.default_rng(7)
    first, second = make_batch(rng), make_batch(rng)
    plain, split = Learner(SPEC, make_config()), Learner(SPEC, make_config())
    expected = [plain.update(first), plain.update(second)]
    split.start_update(split.stage(first))
    staged = split.stage(second)
    found = [split.finish_update()]
    split.start_update(staged)
    found.append(split.finish_update())
    for (mine, stats), (other, reference) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, other)
        assert stats == reference


def test_the_state_goes_on_where_it_was():
    rng = np.random.default_rng(5)
    batches = [make_batch(rng) for _ in range(6)]
    whole, first = Learner(SPEC, make_config()), Learner(SPEC, make_config())
    for batch in batches[:3]:
        whole.update(batch), first.update(batch)
    second = Learner(SPEC, make_config())
    second.load_state(*first.state(), updates=first.updates)
    for batch in batches[3:]:
        np.testing.assert_array_equal(whole.update(batch)[0], second.update(batch)[0])


def test_divergence_is_a_clear_error():
    learner, batch = Learner(SPEC, make_config()), make_batch(np.random.default_rng(6))
    batch.returns[0] = np.inf
    with pytest.raises(UserError, match=r"diverged at update 1.*learning_rate"):
        learner.update(batch)


def test_a_missing_device_is_a_clear_error():
    with pytest.raises(UserError, match=r"learner.device = 'tpu'.*expected auto, cpu or cuda"):
        resolve_device("tpu")
