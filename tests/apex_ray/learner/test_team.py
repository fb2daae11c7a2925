"""Several workers learn what one learns from the joined batch, and see when one of them is lost."""

import multiprocessing
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from apex_ray.learner.team import LostWorkerError, Share, Team, come_to, open_meeting
from apex_ray.td import importance_weights
from tests.apex_ray.learner.test_learner import make_batch, make_learner

SIZE, UPDATES, LIMIT_S = 6, 5, 60.0
SETTINGS = {"batch_size": 2 * SIZE, "optimizer": "adam", "learning_rate": 1e-2, "epsilon": 1e-8}
HERE = "127.0.0.1"
CPU = torch.device("cpu")


def parts_of_batches(workers):
    """By update, each worker's part of a batch, with probabilities of very different size."""
    rng, batches = np.random.default_rng(3), []
    for _ in range(UPDATES):
        parts, probabilities = [], []
        for worker in range(workers):
            probability = rng.uniform(0.5, 1, SIZE) * 10.0 ** -(2 + 2 * worker)
            probabilities.append(probability)
            parts.append(
                replace(make_batch(rng, SIZE), weights=importance_weights(probability), rarest=float(probability.min()))
            )
        batches.append((parts, np.concatenate(probabilities)))
    return batches


def joined(parts, probabilities):
    fields = {name: np.concatenate([part.fields[name] for part in parts]) for name in parts[0].fields}
    count = len(probabilities)
    return replace(
        parts[0], fields=fields, weights=importance_weights(probabilities), slots=np.arange(count),
        overwrites=np.zeros(count, np.int64),
    )  # fmt: skip


def second_worker(meeting, last, answers):
    """All updates, then `last`: leave, or end without a word in the middle of one."""
    share, learner = Share(1, 2), make_learner(**SETTINGS)
    learner.team = Team(come_to(meeting, share, LIMIT_S), share, CPU, LIMIT_S)
    errors = [learner.update(parts[1])[0] for parts, _ in parts_of_batches(2)]
    answers.put((errors, learner.state()))
    answers.close()
    answers.join_thread()
    if last == "ends":
        learner.team.least(torch.tensor(1.0))()
        os._exit(1)
    Team.leave()


@pytest.fixture
def team():
    """After `start(last)`: the learner of this process in a team of two, and what the other one answers."""
    context = multiprocessing.get_context("spawn")
    answers, started = context.Queue(), []

    def start(last):
        meeting, store = open_meeting(HERE, 2, LIMIT_S)
        started.append(context.Process(target=second_worker, args=(meeting, last, answers), daemon=True))
        started[0].start()
        learner = make_learner(**SETTINGS)
        learner.team = Team(store, Share(0, 2), CPU, LIMIT_S)
        return learner, answers

    yield start
    Team.leave()
    started[0].join(LIMIT_S)
    assert started[0].exitcode is not None


def test_two_workers_learn_what_one_learns_from_the_joined_batch(team):
    learner, answers = team("leaves")
    alone = make_learner(**SETTINGS)
    mine = []
    for parts, probabilities in parts_of_batches(2):
        errors, metrics = learner.update(parts[0])
        mine.append(errors)
        expected_errors, expected = alone.update(joined(parts, probabilities))
        np.testing.assert_allclose(errors, expected_errors[:SIZE], atol=1e-6)
        assert metrics.keys() == expected.keys()
        np.testing.assert_allclose([metrics[n] for n in expected], list(expected.values()), atol=1e-6, rtol=1e-5)
        for one, other in zip(learner.online.parameters(), alone.online.parameters(), strict=True):
            np.testing.assert_allclose(one.grad, other.grad, atol=1e-6)
    theirs, state = answers.get(timeout=LIMIT_S)
    assert not np.allclose(np.concatenate(mine), np.concatenate(theirs)), "each has rows of its own"
    for ours, others in zip(learner.state(), state, strict=True):
        for name in ours:
            np.testing.assert_array_equal(ours[name], others[name], err_msg="all workers hold equal weights")


def test_a_lost_worker_is_seen_before_anything_is_applied(team):
    learner, answers = team("ends")
    batches = [parts[0] for parts, _ in parts_of_batches(2)]
    for batch in batches:
        learner.update(batch)
    answers.get(timeout=LIMIT_S)
    before = learner.state()
    tensors = learner.to_device(batches[0])
    with pytest.raises(LostWorkerError):
        learner.start_update(tensors)
    assert learner.updates == UPDATES
    for one, other in zip(before, learner.state(), strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    learner.team = None
    Team.leave()
    learner.start_update(tensors)
    learner.finish_update()
    assert learner.updates == UPDATES + 1


def test_who_does_not_come_is_not_waited_for_without_end():
    _, store = open_meeting(HERE, 2, 0.5)
    with pytest.raises(LostWorkerError):
        Team(store, Share(0, 2), CPU, 0.5)
    with pytest.raises(LostWorkerError):
        come_to(open_meeting(HERE, 2, 0.5)[0]._replace(port=1), Share(1, 2), 0.5)
    Team.leave()
