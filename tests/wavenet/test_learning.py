"""Updates: workers that share a batch against one that has it all, schedules, averages; and that it learns."""

import math

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from torch import nn

from trainkit.mu_law import encode
from wavenet.config import ModelConfig, TrainingConfig
from wavenet.corpus import Recording, frequencies
from wavenet.crops import Cropper
from wavenet.evaluation import flac, linear_predictor, simpler
from wavenet.learning import Learner, held_out_bits
from wavenet.model import WaveNet

MODEL = ModelConfig(cycles=1, layers_per_cycle=4, residual=8, skip=8, head=8, speakers=2)
TRAINING = TrainingConfig(batch=6, segment_samples=40, warmup_steps=2, steps=20, grad_clip=1e9)


def recordings():
    rng = np.random.default_rng(0)
    # Lengths that leave some crops half empty: workers then have unequal numbers of samples.
    return [
        Recording(str(i), rng.integers(-9_000, 9_000, n).astype(np.int16), i % 2) for i, n in enumerate([30, 90, 55])
    ]


def alone(value):
    return torch.as_tensor(value, dtype=torch.float64)


UNEVEN = TRAINING.model_copy(update={"batch": 5, "accumulate": 2})  # 3 crops and 2, of which each part is one or two


def gradients(learner, crops):
    learner.update(crops)
    return torch.cat([p.grad.flatten() for p in learner.model.parameters()])


def batch(size):
    return Cropper(MODEL, TRAINING.segment_samples).random(recordings(), size, np.random.default_rng(0))


def build():
    torch.manual_seed(0)
    return WaveNet(MODEL).double()


def one_of_two(rank, place, answers, compared):
    torch.distributed.init_process_group("gloo", f"file://{place}", rank=rank, world_size=2)
    torch.set_num_threads(1)

    def total(value):
        number = alone(value).clone()
        torch.distributed.all_reduce(number)
        return number

    for training in (TRAINING, UNEVEN):
        model = build()
        learner = Learner(model, nn.parallel.DistributedDataParallel(model), training, 2, total)
        gradient = gradients(learner, batch(training.batch).rows(slice(rank, None, 2)))
        after = torch.cat([p.detach().flatten() for p in model.parameters()])
        answers.put((training.batch, gradient.numpy(), after.numpy()))
    compared.wait(60)  # a process that ends before its peer has its last sum breaks the peer's connection


def test_two_workers_are_one_on_the_joined_batch(tmp_path):
    expected, weights = dict[int, np.ndarray](), dict[int, np.ndarray]()
    for training in (TRAINING, UNEVEN):
        model, size = build(), training.batch
        expected[size] = gradients(Learner(model, model, training, 1, alone), batch(size)).numpy()
        weights[size] = torch.cat([p.detach().flatten() for p in model.parameters()]).numpy()
    context = mp.get_context("spawn")
    answers = context.Queue()
    compared = context.Event()
    workers = mp.spawn(one_of_two, (str(tmp_path / "meet"), answers, compared), nprocs=2, join=False)
    for _ in range(4):
        size, gradient, after = answers.get(timeout=60)
        np.testing.assert_allclose(gradient, expected[size], atol=1e-6 * np.abs(expected[size]).max())
        np.testing.assert_allclose(after, weights[size], atol=1e-6)
    compared.set()
    while not workers.join():
        pass
    assert all(np.abs(gradient).max() > 1e-3 for gradient in expected.values())


@pytest.mark.parametrize("accumulate", [2, 3, 6])
def test_parts_add_up_to_the_whole(accumulate):
    whole, parts = build(), build()
    expected = gradients(Learner(whole, whole, TRAINING, 1, alone), batch(TRAINING.batch))
    training = TRAINING.model_copy(update={"accumulate": accumulate})
    torch.testing.assert_close(gradients(Learner(parts, parts, training, 1, alone), batch(TRAINING.batch)), expected)


def test_going_on_from_a_state_is_never_having_stopped():
    def crops(step):
        return Cropper(MODEL, 40).random(recordings(), 6, np.random.default_rng((1, step)))

    def copy(tree):
        return {name: p.clone() for name, p in tree.items()}

    straight = build()
    one = Learner(straight, straight, TRAINING, 1, alone)
    for step in range(6):
        one.update(crops(step))
        if step == 2:
            kept = copy(straight.state_dict()), copy(one.average), torch.load(_saved(one.state()), weights_only=True)
    later = build()
    two = Learner(later, later, TRAINING, 1, alone)
    two.load(*kept)
    for step in range(two.step, 6):
        two.update(crops(step))
    for a, b in zip(straight.parameters(), later.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    for name, p in one.average.items():
        torch.testing.assert_close(p, two.average[name], rtol=0, atol=0)


def _saved(state):
    import io

    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return file


def test_it_learns_a_tone_far_better_than_simpler_models():
    rng, t = np.random.default_rng(0), np.arange(4_000) / 16_000
    tone = [
        Recording(str(i), (4_000 * np.sin(2 * np.pi * 440 * t + phase) + rng.normal(0, 60, 4_000)).astype(np.int16))
        for i, phase in enumerate(rng.uniform(0, 2 * np.pi, 12))
    ]
    heard, held = tone[:10], tone[10:]
    config = ModelConfig(cycles=1, layers_per_cycle=5, residual=16, skip=32, head=32)
    training = TrainingConfig(batch=4, segment_samples=400, warmup_steps=10, steps=100, learning_rate=1e-2, ema=0.9)
    torch.manual_seed(0)
    model, cropper = WaveNet(config), Cropper(config, 400)
    model.expect(torch.from_numpy(frequencies(heard)))
    others = simpler(heard, held, 16_000)
    start = held_out_bits(config, model, cropper.all(held, 8), alone)
    assert start == pytest.approx(others["frequencies of codes"], abs=0.3)
    learner = Learner(model, model, training, 1, alone)
    for step in range(training.steps):
        learner.update(cropper.random(heard, 4, np.random.default_rng(step)))
    bits = held_out_bits(config, learner.averaged(), cropper.all(held, 8), alone)
    assert bits < 0.4 * start and bits < min(others.values())


def test_bfloat16_is_near_float32():
    one, other = build().float(), build().float()
    training = TRAINING.model_copy(update={"bf16": True})
    exact = gradients(Learner(one, one, TRAINING, 1, alone), batch(TRAINING.batch))
    rounded = gradients(Learner(other, other, training, 1, alone), batch(TRAINING.batch))
    apart = (rounded - exact).norm() / exact.norm()
    assert 1e-5 < apart < 0.05, "it multiplies in fewer bits, and about the same"


def test_what_it_is_compared_with():
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, 20_000) for _ in range(2)]
    assert linear_predictor(noise[:1], noise[1:], 8) > 7.9 and flac(noise[1:], 16_000) > 7.9, "noise has no pattern"
    walk = [(128 + 60 * np.sin(np.arange(20_000) / 50)).round().astype(int)] * 2
    assert linear_predictor(walk[:1], walk[1:], 8) < 1.5 and flac(walk[1:], 16_000) < 3
    silence = [Recording("a", np.zeros(5_000, np.int16))] * 2
    assert simpler(silence, silence, 16_000)["frequencies of codes"] < 0.1
    assert math.isclose(encode(np.zeros(1))[0], 128)
