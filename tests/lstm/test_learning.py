"""Updates: workers that share a batch against one that has it all, carried states, going on; and that it learns."""

import io
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from torch import nn

from lstm.config import AddingConfig, CopyConfig, ModelConfig, TrainingConfig
from lstm.learning import Learner, held_out_cost, multiplies_bf16, one_worker
from lstm.memory import gradient_norms, learns_adding
from lstm.network import build
from lstm.rates import rates_and_losses
from lstm.tasks.codes import NextCode
from lstm.tasks.memory_tests import ADDING_BASELINE, Adding, Copy
from trainkit.errors import UserError

TRAINING = TrainingConfig(batch=6, warmup_steps=2, steps=20, grad_clip=1e9, learning_rate=1e-2)
MODEL = ModelConfig(hidden=8, layers=2, embedding=5)


def ragged():
    return Adding(AddingConfig(steps=8, spread=0.5), TRAINING.batch, 0)


def streams(size=TRAINING.batch):
    codes = np.random.default_rng(0).integers(0, 7, 400).astype(np.uint8)
    return NextCode(codes[:350], codes[350:], 7, size, 10, "code")


def double(batch):
    parts = [p.double() if p is not None and p.is_floating_point() else p for p in batch._parts()]
    return type(batch)(*parts)


def learner_of(task, wrap=lambda m: m, workers=1, total=one_worker, training=TRAINING):
    network = build(MODEL, task.shape, 0).double()
    return Learner(network, wrap(network), task, training, workers, total)


def flat(parameters):
    return torch.cat([p.detach().flatten() for p in parameters]).numpy()


def run(learner, task, rows, updates=3):
    """The last update's gradient and the weights after it."""
    state = None
    for step in range(updates):
        _, _, after = learner.update(double(task.batch(step)).rows(rows), state)
        state = after if task.carried else None
    return flat(p.grad for p in learner.network.parameters()), flat(learner.network.parameters())


def one_of_two(rank, place, answers, compared):
    torch.distributed.init_process_group("gloo", f"file://{place}", rank=rank, world_size=2)
    torch.set_num_threads(1)

    def total(value):
        number = one_worker(value).clone()
        torch.distributed.all_reduce(number)
        return number

    for name, task in (("ragged", ragged()), ("streams", streams())):
        learner = learner_of(task, nn.parallel.DistributedDataParallel, 2, total)
        answers.put((name, *run(learner, task, slice(rank, TRAINING.batch, 2))))
    compared.wait(60)  # a process that ends before its peer has its last sum breaks the peer's connection


def test_two_workers_are_one_on_the_joined_batch(tmp_path):
    """Ragged rows, and streams whose state is carried over three updates."""
    expected = {name: run(learner_of(task), task, slice(None)) for name, task in
                (("ragged", ragged()), ("streams", streams()))}  # fmt: skip
    context = mp.get_context("spawn")
    answers = context.Queue()
    compared = context.Event()
    workers = mp.spawn(one_of_two, (str(tmp_path / "meet"), answers, compared), nprocs=2, join=False)
    for _ in range(4):
        name, gradient, weights = answers.get(timeout=100)
        np.testing.assert_allclose(gradient, expected[name][0], atol=1e-6 * np.abs(expected[name][0]).max())
        np.testing.assert_allclose(weights, expected[name][1], atol=1e-6)
    compared.set()
    while not workers.join():
        pass


def test_streams_read_on_where_they_ended_and_all_of_the_text():
    task = streams(size=5)
    rows = [task.batch(step) for step in range(7)]
    for before, after in pairwise(rows):
        assert torch.equal(before.targets[:, -1], after.inputs[:, 0]), "no code is left out, none comes twice"
    first_pass = torch.cat([batch.inputs for batch in rows], 1)
    assert first_pass.flatten().tolist() == task.train.tolist(), "stream b is the b-th fifth"
    assert torch.equal(task.batch(7).inputs[0], rows[0].inputs[1]), "and then goes on in the next"
    assert torch.equal(task.batch(7).inputs[-1], rows[0].inputs[0]), "from the end to the beginning"
    held = list(task.validation())
    read = torch.cat([batch.inputs for batch in held] + [held[-1].targets[:, -1:]], 1)
    assert read.flatten().tolist() == task.held_out[: read.numel()].tolist()


def test_going_on_from_a_state_is_never_having_stopped():
    task = ragged()
    one, two = learner_of(task), learner_of(task)
    for step in range(6):
        one.update(double(task.batch(step)))
        if step == 2:
            one.judge(0.5)
            file = io.BytesIO()
            torch.save(one.state(), file)
            file.seek(0)
            kept = one.weights(), one.best, torch.load(file, weights_only=True)
    two.load(*kept)
    for step in range(two.step, 6):
        two.update(double(task.batch(step)))
    np.testing.assert_array_equal(flat(one.network.parameters()), flat(two.network.parameters()))
    assert two.best_cost == 0.5 and all(torch.equal(p, two.best[name]) for name, p in one.best.items())


def test_the_best_weights_are_kept_and_patience_ends():
    learner = learner_of(ragged(), training=TRAINING.model_copy(update={"patience": 2}))
    assert learner.judge(3.0)
    best = learner.weights()
    learner.update(double(ragged().batch(0)))
    assert learner.judge(3.0), "no better once"
    assert not learner.judge(4.0), "no better twice"
    assert all(torch.equal(p, learner.best[name]) for name, p in best.items())
    assert learner.judge(1.0) and not torch.equal(learner.best["readout.bias"], best["readout.bias"])


def test_rows_of_the_adding_problem():
    batch = ragged().batch(3)
    for row, length in enumerate(batch.lengths.tolist()):
        numbers, marks = batch.inputs[row, :, 0], batch.inputs[row, :, 1]
        assert 8 <= length <= 12 and batch.counted[row].nonzero().flatten().tolist() == [length - 1]
        (first, second) = marks.nonzero().flatten().tolist()
        assert first < length // 2 <= second < length
        assert float(batch.targets[row, length - 1]) == pytest.approx(float(numbers[first] + numbers[second]))
    same, other = ragged().batch(3), ragged().batch(4)
    assert torch.equal(batch.inputs, same.inputs) and not torch.equal(batch.inputs[:, 0], other.inputs[:, 0])
    rows = next(Adding(AddingConfig(steps=50, validation_rows=20_000), 20_000, 1).validation())
    assert float(((rows.targets[rows.counted] - 1) ** 2).mean()) == pytest.approx(ADDING_BASELINE, abs=0.005)


def test_rows_of_the_copy_problem():
    batch = Copy(CopyConfig(steps=5, symbols=3, alphabet=4), 10, 0).batch(0)
    assert batch.inputs.shape == (10, 11) and batch.counted.sum() == 30
    assert torch.equal(batch.inputs[:, :3] - 1, batch.targets[:, -3:])
    assert (batch.inputs[:, 8] == 5).all() and not batch.inputs[:, 3:8].any() and not batch.inputs[:, 9:].any()


def test_an_lstm_adds_over_100_steps_where_a_plain_network_does_not():
    lstm, plain = (
        learns_adding(model, AddingConfig(steps=100, validation_rows=256), training, 2, lambda text: None).curve[-1][1]
        for model, training in (
            (ModelConfig(hidden=32, chrono_steps=100), TrainingConfig(steps=500, learning_rate=2e-2, grad_clip=0.1)),
            (ModelConfig(cell="rnn", hidden=32), TrainingConfig(steps=500, learning_rate=1e-3, grad_clip=0.1)),
        )
    )
    assert lstm < 0.01 < 0.14 < plain, (lstm, plain)


def test_gradients_reach_as_far_as_the_cells_let_them():
    """A plain network's fade, an LSTM's with memories of all lengths do not; nothing depends on what comes later."""
    plain = gradient_norms(ModelConfig(cell="rnn", hidden=16), 300)
    lstm = gradient_norms(ModelConfig(hidden=16, chrono_steps=300), 300)
    assert plain[200] < 1e-12 * plain[0] and lstm[200] > 1e-3 * lstm[0]
    loud = gradient_norms(ModelConfig(cell="rnn", hidden=32), 300, scale=3.0, seed=1)
    assert loud[100:].max() > 100 * loud[0], "with larger weights they explode"


def test_what_finding_a_rate_sees():
    rates, losses = rates_and_losses(ragged(), build(MODEL, ragged().shape, 0), TRAINING, 30)
    assert len(rates) == len(losses) <= 30 and np.all(np.diff(np.log(rates)) > 0)
    assert held_out_cost(ragged(), build(MODEL, ragged().shape, 0), ragged().validation(), one_worker) > 0


def test_bfloat16_multiplies_coarsely_and_learns_the_same():
    """Weights stay float32; a gradient in bfloat16 points where the float32 one does."""
    if not multiplies_bf16(torch.device("cpu")):
        training, network = TRAINING.model_copy(update={"bf16": True}), build(MODEL, streams().shape, 0)
        with pytest.raises(UserError, match=r"training\.bf16 = true: no LSTM in bfloat16 on this cpu; expected false"):
            Learner(network, network, streams(), training, 1, one_worker)
        return
    gradients, losses = [], []
    for bf16 in (False, True):
        task = streams()
        training = TRAINING.model_copy(update={"bf16": bf16})
        network = build(MODEL, task.shape, 0)
        learner = Learner(network, network, task, training, 1, one_worker)
        batch = task.batch(0)
        losses.append(learner.update(batch)[0])
        gradients.append(flat(p.grad for p in network.parameters()))
        assert {p.dtype for p in network.parameters()} == {torch.float32}
        for _ in range(40):
            last = learner.update(batch)[0]
        assert last < losses[-1] - 0.1
    exact, coarse = gradients
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=0.01)
    assert exact @ coarse / np.linalg.norm(exact) / np.linalg.norm(coarse) > 0.99
