"""Training, evaluations while training and evaluations afterwards never play from the same seed."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from apex_ray.envs.seeds import AFTERWARDS, EVALUATION, TRAINING, first_seed
from apex_ray.experience.actor import Actor
from tests.fakes import CountingEnvs, Episode

PURPOSES = (TRAINING, EVALUATION, AFTERWARDS)


def test_no_seed_has_two_purposes_and_all_fit_31_bits():
    for one, other in itertools.combinations(PURPOSES, 2):
        assert one.stop <= other.start or other.stop <= one.start
    assert min(p.start for p in PURPOSES) == 0 and max(p.stop for p in PURPOSES) <= 2**31


@pytest.mark.parametrize("purpose", PURPOSES)
def test_all_seeds_of_a_vector_lie_in_its_range(purpose):
    for num_envs in (1, 5000, len(purpose)):
        for key in range(50):
            first = first_seed(purpose, num_envs, key)
            assert first in purpose and first + num_envs - 1 in purpose
    assert len({first_seed(purpose, 8, 1, k) for k in range(1000)}) > 990, "the seeds differ"


def test_an_actor_takes_its_seeds_from_training():
    agent = SimpleNamespace(initial_state=lambda num_envs: {})
    for index in range(200):
        envs = CountingEnvs([[Episode(3)]] * 4)
        Actor(index, agent, envs, None, None, np.zeros(4, np.float32), None, seed=(2**40, 3))
        assert envs.seeds[0] in TRAINING and envs.seeds[0] + 3 in TRAINING
