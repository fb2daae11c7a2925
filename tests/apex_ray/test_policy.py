"""A run's weights as a function: of one observation or many, refusing what it was not trained on."""

import numpy as np
import pytest

from apex_ray.config.load import load
from apex_ray.policy import load_policy
from tests.apex_ray import brought
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


def policy_of(tmp_path, of, **env):
    settings = {"id": of, "make": "tests.apex_ray.brought:" + of, **env}
    run, _ = saved(tmp_path, cartpole(env=settings, network={"conv_channels": [4, 4, 4]}))
    return load_policy(run)


def test_observations_are_given_as_the_environment_gives_them(tmp_path):
    policy, env = policy_of(tmp_path, "masked_nested"), brought.masked_nested()
    observation, _ = env.reset(seed=3)
    observation["seen"]["camera"] = np.moveaxis(observation["seen"]["camera"], 2, 0)
    action, values = policy(observation), policy.q_values(observation)
    assert observation["action_mask"][action] and values.shape == (6,)
    np.testing.assert_array_equal(np.isneginf(values), observation["action_mask"] == 0)
    inside = {name: part for name, part in observation.items() if name != "action_mask"}
    assert policy(inside, observation["action_mask"]) == action
    with pytest.raises(UserError, match=r"expected frames\.seen\.body\.0, .*action_mask"):
        policy(inside)
    envs = policy.make_envs(2)
    assert policy(envs.reset(1)).shape == (2,)
    envs.close()


def test_what_is_ignored_may_be_there_and_a_mask_that_is_none_is_a_part(tmp_path):
    env = brought.unmasked()
    observation, _ = env.reset(seed=3)
    policy = policy_of(tmp_path / "a", "unmasked", action_mask=False)
    assert list(policy.spec.observation) == ["frames.action_mask", "frames.seen"] and policy(observation).shape == ()
    policy = policy_of(tmp_path / "b", "unmasked", ignore=["action_mask"])
    assert list(policy.spec.observation) == ["frames.seen"] and policy(observation).shape == ()


def test_a_batch_of_one_number_is_a_batch(tmp_path):
    policy = policy_of(tmp_path, "number")
    assert policy(np.int64(5)).shape == () and policy(np.array([5])).shape == (1,)
    assert policy(np.array([5, 3])).shape == (2,) and policy.act(np.array([5]), {})[0].shape == (1,)
    with pytest.raises(UserError, match="environments differ in number"):
        policy_of(tmp_path / "b", "pair")({"0": np.zeros(3, np.float32), "1": np.array([1, 2])})


def test_a_ragged_list_is_refused(tmp_path):
    with pytest.raises(UserError, match="no array of numbers"):
        policy_of(tmp_path, "vector")([[1, 2, 3], [1, 2]])


def test_a_policy_plays_whole_episodes_of_an_environment_of_ones_own(tmp_path):
    played = policy_of(tmp_path, "vector").evaluate(brought.vector(), episodes=4)
    assert len(played.returns) == 4 and all(5 <= length < 13 for length in played.lengths_steps)
