"""A run's weights as a function: of one observation or many, refusing what it was not trained on."""

import numpy as np
import pytest

from apex_ray.config.load import load
from apex_ray.policy import load_policy
from tests.apex_ray.runs import cartpole, saved
from trainkit.errors import UserError


def test_a_policy_takes_one_observation_or_many(tmp_path):
    run, _ = saved(tmp_path, cartpole())
    policy = load_policy(run)
    many = np.random.default_rng(0).normal(size=(6, 1, 4)).astype(np.float32)
    actions = policy(many)
    assert actions.shape == (6,)
    for observation, action in zip(many[:, 0], actions, strict=True):
        assert policy(observation) == action and policy(observation).shape == ()
        assert policy(observation.astype(np.float64)) == action
    # the stack is 1: its axis may be left out, by any number of environments
    for count in (1, 2, 6):
        for given in (many[:count], many[:count, 0]):
            np.testing.assert_array_equal(policy(given), actions[:count])
            assert policy(given).shape == (count,)


@pytest.mark.parametrize(
    ("observations", "parts"),
    [
        (np.zeros((2, 4, 84, 84), np.float32), ["float32 [2, 4, 84, 84], 0 to 0", "floats where uint8 was promised"]),
        (np.zeros((2, 4, 96, 96), np.uint8), ["uint8 [2, 4, 96, 96]", "another shape"]),
        (np.zeros((84, 84), np.uint8), ["uint8 [84, 84]", "another shape"]),
        (np.zeros((4, 84, 84, 1), np.uint8), ["another shape"]),
        (np.full((4, 84, 84), 256), ["256 to 256"]),
        (None, ["no array of numbers"]),
    ],
)
def test_a_policy_refuses_what_it_was_not_trained_on(observations, parts, pong_run):
    with pytest.raises(UserError) as info:
        load_policy(pong_run)(observations)
    for part in ["policy of ALE/Pong-v5", "expected uint8 [E, 4, 84, 84], 0 to 255", *parts]:
        assert part in str(info.value)


@pytest.fixture(scope="module")
def pong_run(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("pong"), load("pong", ["learner.compile=false"]).config)[0]


def test_a_policy_plays_atari_with_environments_of_its_own(pong_run):
    policy = load_policy(pong_run)
    envs = policy.make_envs(num_envs=2)
    observations = envs.reset(seed=7)
    assert policy(observations).shape == (2,)
    assert policy(observations["frames"][0]) == policy(observations)[0]
    for _ in range(3):
        envs.send(policy(observations))
        observations = envs.recv().observations
    envs.close()
