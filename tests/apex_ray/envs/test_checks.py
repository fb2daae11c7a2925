"""What an environment gives is held against what it says of itself; the environment is named with the step."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from apex_ray.config.schema import EnvConfig
from apex_ray.envs.checks import checked_answer, checked_reward
from apex_ray.envs.make import make_envs, probe
from tests.fakes import CountingEnv
from trainkit.errors import UserError

BYTES, VECTOR = spaces.Box(0, 255, (8, 8), np.uint8), spaces.Box(-1, 1, (4,), np.float32)


class Says(CountingEnv):
    """Says one space and gives `first` at reset, `later` from step `at` on; likewise rewards and ends."""

    def __init__(self, space, first, later=None, at=1, reward=1.0, terminated=False):
        super().__init__(length=10**9)
        self.observation_space = space
        self._given = (first, first if later is None else later)
        self._at, self._reward, self._terminated = at, reward, terminated

    def observation(self):
        return self._given[self.mark.step >= self._at]

    def step(self, action):
        observation, *_ = super().step(action)
        late = self.mark.step >= self._at
        return observation, self._reward if late else 1.0, self._terminated if late else False, False, {}


def says(**kwargs):
    if "apex-tests/Says-v0" not in gymnasium.registry:
        gymnasium.register("apex-tests/Says-v0", entry_point=Says)
    return EnvConfig(id="apex-tests/Says-v0", frame_stack=1, kwargs=kwargs)


def played(config, steps, num_envs=2):
    envs = make_envs(config, num_envs)
    out = [envs.reset(0)["frames"].copy()]
    for _ in range(steps):
        envs.send(np.zeros(num_envs, np.int64))
        out.append(envs.recv().observations["frames"].copy())
    return out


@pytest.mark.parametrize(
    ("space", "given", "parts"),
    [
        (BYTES, np.full((8, 8), 0.5, np.float32), ["Box(0, 255, (8, 8), uint8)", "float32 [8, 8], 0.5 to 0.5"]),
        (BYTES, np.zeros((8, 8), np.float32), ["floats where uint8 was promised"]),
        (BYTES, np.full((8, 8), 300), ["int64 [8, 8], 300 to 300", "0 to 255"]),
        (BYTES, np.full((8, 8), -1), ["-1 to -1"]),
        (BYTES, np.zeros((8, 8, 1), np.uint8), ["another shape", "uint8 [8, 8, 1]"]),
        (BYTES, np.zeros((4, 4), np.uint8), ["uint8 [4, 4]"]),
        (VECTOR, np.array([0.7], np.float32), ["another shape", "float32 [1], 0.7 to 0.7", "float32 [4], -1 to 1"]),
        (VECTOR, np.float32(0.7), ["float32 []"]),
        (VECTOR, np.full(4, 300, np.float32), ["far outside", "300 to 300"]),
        (VECTOR, np.array([0, np.nan, 0, 0], np.float32), ["not finite, the first at [1]"]),
        (VECTOR, np.array([0, 1e300, 0, 0]), ["not finite"]),
        (VECTOR, {"position": 1}, ["no array of numbers"]),
        (VECTOR, [[1, 2], [3]], ["no array of numbers"]),
    ],
)
def test_an_observation_that_is_not_in_its_space_is_refused_by_the_probe(space, given, parts):
    with pytest.raises(UserError, match="environment 0, from reset") as info:
        probe(says(space=space, first=given))
    for part in ["env.id = 'apex-tests/Says-v0'", *parts]:
        assert part in str(info.value)


@pytest.mark.parametrize(
    ("space", "given"),
    [
        (BYTES, np.full((8, 8), 200, np.int64)),
        (BYTES, np.full((8, 8), True)),
        (VECTOR, np.full(4, 0.25, np.float64)),
        (VECTOR, [0, 1, -1, 0]),
        (VECTOR, np.full(4, 1, np.int8)),
    ],
)
def test_wider_dtypes_of_the_same_values_pass_and_are_said_once(space, given):
    config = says(space=space, first=given)
    spec = probe(config)
    assert len(spec.notes) == 1 and "of the same values" in spec.notes[0]
    for observations in played(config, 2):
        np.testing.assert_array_equal(observations[0, -1], given)
        assert observations.dtype == spec.leaf.dtype


def test_bounds_that_are_a_little_too_tight_pass_and_are_said():
    spec = probe(says(space=VECTOR, first=np.full(4, 1.5, np.float32)))
    assert "1.5 to 1.5, outside its space Box(-1.0, 1.0, (4,), float32)" in spec.notes[0]
    assert not probe(says(space=VECTOR, first=np.float32([1 + 1e-7] * 4))).notes, "rounding is not worth a word"
    assert not probe(EnvConfig(id="CartPole-v1", frame_stack=1)).notes


@pytest.mark.parametrize("at", [3, 500])
@pytest.mark.parametrize(
    ("space", "first", "later"),
    [
        (BYTES, np.zeros((8, 8), np.uint8), np.ones((8, 8), np.float32)),
        (BYTES, np.zeros((8, 8), np.uint8), np.ones((1, 8), np.uint8)),
        (VECTOR, np.zeros(4, np.float32), np.full(4, np.inf, np.float32)),
        (VECTOR, np.zeros(4, np.float32), np.full(1, 1, np.float32)),
    ],
)
def test_another_dtype_or_shape_or_what_is_not_finite_is_found_however_late(space, first, later, at):
    config = says(space=space, first=first, later=later, at=at)
    with pytest.raises(UserError, match=f"environment 0, at step {at} of its episode: the observation"):
        played(config, 600)


@pytest.mark.parametrize("reward", [np.nan, -np.inf, np.float64(1e39), None, "much"])
def test_a_reward_that_is_no_finite_number_names_environment_and_step(reward):
    config = says(space=VECTOR, first=np.zeros(4, np.float32), reward=reward, at=7)
    with pytest.raises(UserError, match="environment 0, at step 7 of its episode: the reward is ") as info:
        played(config, 9)
    assert repr(reward) in str(info.value) and "apex-tests/Says-v0" in str(info.value)


@pytest.mark.parametrize("terminated", [None, np.nan, "False", 2, np.array([False, True])])
def test_an_end_that_is_no_bool_is_refused(terminated):
    config = says(space=VECTOR, first=np.zeros(4, np.float32), terminated=terminated, at=2)
    with pytest.raises(UserError, match=r"at step 2 of its episode: terminated is .* expected True or False"):
        played(config, 3)


@pytest.mark.parametrize("terminated", [np.True_, 1, np.array(True)])
def test_ends_that_mean_a_bool_pass(terminated):
    envs = make_envs(says(space=VECTOR, first=np.zeros(4, np.float32), terminated=terminated, at=2), 1)
    envs.reset(0)
    ends = []
    for _ in range(2):
        envs.send(np.zeros(1, np.int64))
        ends.append(bool(envs.recv().terminated[0]))
    assert ends == [False, True]


@pytest.mark.parametrize(
    ("call", "answer", "told"),
    [
        ("reset()", np.zeros(4), "gave ndarray; expected (observation, info)"),
        ("reset()", (np.zeros(4), None), "gave (ndarray, NoneType)"),
        (
            "step()",
            (np.zeros(4), 0.0, False, {}),
            "gave (ndarray, float, bool, dict); expected (observation, reward, term",
        ),
        ("step()", None, "gave NoneType"),
    ],
)
def test_the_old_gyms_form_is_told_with_what_to_do(call, answer, told):
    with pytest.raises(UserError) as info:
        checked_answer("mine", 2, call, answer)
    assert told in str(info.value) and "GymV26Environment" in str(info.value) and "environment 2" in str(info.value)


def test_a_reward_in_an_array_of_one_is_a_number():
    assert checked_reward("mine", 0, 1, np.array([1.5])) == 1.5
    with pytest.raises(UserError, match="expected a finite number"):
        checked_reward("mine", 0, 1, np.array([1.5, 2]))
