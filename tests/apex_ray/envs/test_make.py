"""The VectorEnv contract on every implementation, and the mistakes that making an environment finds."""

import itertools
import sys

import gymnasium
import numpy as np
import pytest

from apex_ray.config.schema import EnvConfig
from apex_ray.envs import own_code
from apex_ray.envs.atari import AtariEnvs
from apex_ray.envs.gym import GymEnvs
from apex_ray.envs.make import make_envs, probe
from tests.fakes import CountingEnvs, Episode
from trainkit.errors import UserError

SCRIPTS = [[Episode(3), Episode(5, "truncated")], [Episode(1), Episode(4, "terminated", lives_lost_at=(2,))]]


def fake(name, **settings):
    return EnvConfig(id=f"apex-tests/{name}-v0", import_modules=("tests.fakes",), **settings)


MAKERS = {
    "atari": lambda: make_envs(EnvConfig(id="ALE/Breakout-v5", max_episode_frames=240), 2),
    "cartpole": lambda: make_envs(EnvConfig(id="CartPole-v1", frame_stack=3), 2),
    "retro": lambda: make_envs(
        EnvConfig(
            id="retro/Sonic",
            kwargs={"demo": True, "reward": "delta"},
            sticky_actions=0.25,
            max_episode_frames=120,
        ),
        2,
    ),
    "image": lambda: make_envs(fake("Image", frame_stack=2), 2),
    "colour": lambda: make_envs(fake("Colour", frame_stack=4), 2),
    "counting": lambda: CountingEnvs(SCRIPTS, stack=4),
    "counting images": lambda: CountingEnvs(SCRIPTS, stack=3, image=True),
}
STEPS = 80


@pytest.fixture(params=MAKERS)
def name(request):
    return request.param


@pytest.fixture
def envs(name):
    made = MAKERS[name]()
    yield made
    made.close()


def play(envs, seed, steps=STEPS):
    """[(observations, rewards, terminated, truncated, life_lost, first)] copied; the first holds reset's only."""
    rng = np.random.default_rng(0)
    trace = [(envs.reset(seed)["frames"].copy(),)]
    for _ in range(steps):
        envs.send(rng.integers(envs.spec.num_actions, size=envs.num_envs))
        step = envs.recv()
        flags = (step.rewards, step.terminated, step.truncated, step.life_lost, step.first)
        trace.append(tuple(np.copy(x) for x in (step.observations["frames"], *flags)))
    return trace


def same(a, b):
    return all(np.array_equal(x, y) for s, t in zip(a, b, strict=True) for x, y in zip(s, t, strict=True))


def test_shapes_and_dtypes_are_the_specs(envs):
    spec, (start, *steps) = envs.spec, play(envs, 1, 3)
    for observations in [start[0], *(s[0] for s in steps)]:
        assert observations.shape == (2, spec.leaf.stack, *spec.leaf.shape)
        assert observations.dtype == spec.leaf.dtype
    for _, rewards, *flags in steps:
        assert rewards.shape == (2,) and rewards.dtype == np.float32
        assert all(f.shape == (2,) and f.dtype == bool for f in flags) and len(flags) == 4


def test_an_observation_is_the_last_one_shifted_and_zeros_stand_before_an_episodes_first(envs):
    start, *steps = play(envs, 1)
    before = start[0]
    assert not before[:, :-1].any() and all(before[e, -1].any() for e in range(2))
    firsts = 0
    for observations, *_, first in steps:
        for e in range(2):
            if first[e]:
                firsts += 1
                assert not observations[e, :-1].any() and observations[e, -1].any()
            else:
                np.testing.assert_array_equal(observations[e, :-1], before[e, 1:])
        before = observations
    assert firsts > 0, "no episode ended: the test says nothing"


def test_the_step_after_an_end_is_first_and_is_no_transition(envs):
    ended, ends = np.zeros(2, bool), 0
    for _, rewards, terminated, truncated, life_lost, first in play(envs, 1)[1:]:
        np.testing.assert_array_equal(first, ended)
        assert not rewards[first].any() and not (first & (terminated | truncated | life_lost)).any()
        assert not (terminated & truncated).any() and not (life_lost & (terminated | truncated)).any()
        ended = terminated | truncated
        ends += ended.sum()
    assert ends > 0, "no episode ended: the test says nothing"


def test_the_observation_of_an_end_is_the_old_episodes(envs):
    """Else bootstrapping through a time limit would use the next episode's start."""
    trace = play(envs, 1)
    seen = 0
    for now, after in itertools.pairwise(trace[1:]):
        for e in np.flatnonzero(now[2] | now[3]):
            seen += 1
            assert not now[5][e] and after[5][e]
            assert not np.array_equal(now[0][e], after[0][e])
    assert seen > 0


def test_a_seed_gives_the_same_episodes_again(name, envs):
    once, again = play(envs, 5), play(envs, 5)
    assert same(once, again), "reset does not start over"
    twin = MAKERS[name]()
    assert same(once, play(twin, 5))
    twin.close()


@pytest.mark.parametrize("name", ["atari", "cartpole"])
def test_environments_and_seeds_differ(envs):
    five, nine = play(envs, 5), play(envs, 9)
    assert not same(five, nine)
    assert not np.array_equal(five[40][0][0], five[40][0][1])
    six = play(envs, 6)
    np.testing.assert_array_equal(six[0][0][0], five[0][0][1], "environment e does not use seed + e")


def test_ids_choose_the_implementation():
    assert isinstance(make_envs(EnvConfig(id="ALE/Pong-v5"), 1), AtariEnvs)
    assert isinstance(make_envs(EnvConfig(id="CartPole-v1"), 1), GymEnvs)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("Pong-v5", "ALE/Pong-v5"),
        ("PongNoFrameskip-v4", "ALE/Pong-v5"),
        ("MsPacman-v4", "ALE/MsPacman-v5"),
        ("ALE/Pongg-v5", "ALE/Pong-v5"),
        ("ALE/ms_pacman-v5", "ALE/MsPacman-v5"),
        ("CartPol-v1", "CartPole-v1"),
        ("apex-test/Counting-v0", "apex-tests/Counting-v0"),
        ("Countin-v0", "apex-tests/Counting-v0"),
    ],
)
def test_an_unknown_id_names_the_nearest(wrong, meant):
    with pytest.raises(UserError, match=f"{wrong}.*Did you mean '{meant}'"):
        make_envs(EnvConfig(id=wrong, import_modules=("tests.fakes",)), 1)


def test_an_id_near_none_gets_no_suggestion():
    with pytest.raises(UserError, match="'qqqqqqq' is not registered") as info:
        make_envs(EnvConfig(id="qqqqqqq"), 1)
    assert "Did you mean" not in str(info.value)


def test_a_missing_module_is_named():
    with pytest.raises(UserError, match=r"env.import_modules: no module 'no_such_module_at_all'"):
        make_envs(EnvConfig(id="CartPole-v1", import_modules=("no_such_module_at_all",)), 1)


def test_probe_returns_the_spec():
    spec = probe(EnvConfig(id="CartPole-v1", frame_stack=2))
    assert (spec.leaf.shape, spec.leaf.dtype, spec.leaf.stack, spec.num_actions) == ((4,), "float32", 2, 2)
    assert probe(EnvConfig(id="ALE/Breakout-v5")).num_actions == 4


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (fake("RaisesOnReset"), r"'apex-tests/RaisesOnReset-v0' can't be used: RuntimeError: boom on reset"),
        (fake("Raises", kwargs={"at": 1}), r"'apex-tests/Raises-v0' can't be used: RuntimeError: boom at step 1"),
        (fake("Counting", kwargs={"nonsense": 1}), r"can't be used: TypeError: .*nonsense"),
    ],
)
def test_probe_wraps_what_an_environment_raises(config, message):
    with pytest.raises(UserError, match=message) as info:
        probe(config)
    assert info.value.__cause__ is not None


def test_probe_closes_its_environment_even_when_it_fails(monkeypatch):
    closed = []
    monkeypatch.setattr(gymnasium.Env, "close", lambda self: closed.append(type(self).__name__))
    with pytest.raises(UserError):
        probe(fake("RaisesOnReset"))
    assert closed == ["RaisingOnResetEnv"]


def test_minatar_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(own_code, "entry_points", lambda group: ())
    monkeypatch.setitem(sys.modules, "minatar", None)
    with pytest.raises(UserError, match=r"minatar is not installed; expected pip install 'apex-ray\[minatar\]'"):
        make_envs(EnvConfig(id="MinAtar/Anything-v1"), 1)
