"""The contract of envs/base.py on real Atari games and on Gymnasium environments, and every refusal."""

import numpy as np
import pytest

import tests.fakes  # noqa: F401 (registers)
from apex_ray.config.schema import EnvConfig
from apex_ray.envs import atari
from apex_ray.envs.make import make_envs, probe
from apex_ray.envs.rollout import play_episodes, replay_episode
from apex_ray.types import EnvSpec, Step
from cluster.errors import UserError

PONG = EnvConfig(id="ALE/Pong-v5", max_episode_frames=200)
BREAKOUT = EnvConfig(id="ALE/Breakout-v5")
COUNTING = EnvConfig(id="apex-tests/Counting-v0", frame_stack=3)
COLOUR = EnvConfig(id="apex-tests/Colour-v0", frame_stack=2)


def play(envs, steps, seed=3, policy_seed=0):
    """Copies of every step of a random policy, and the first observations."""
    rng = np.random.default_rng(policy_seed)
    first = envs.reset(seed).copy()
    out = []
    for _ in range(steps):
        envs.send(rng.integers(envs.spec.num_actions, size=envs.num_envs))
        step = envs.recv()
        out.append(Step(*(np.array(v) for v in vars(step).values())))
    return first, out


@pytest.mark.parametrize(("config", "steps"), [(PONG, 130), (BREAKOUT, 300), (COUNTING, 60), (COLOUR, 30)])
def test_the_contract(config, steps):
    envs = make_envs(config, 3)
    spec = envs.spec
    before, played = play(envs, steps)
    assert before.shape == (3, spec.stack, *spec.frame_shape) and before.dtype == spec.frame_dtype
    assert not before[:, :-1].any(), "zeros stand before an episode's first frame"
    ended = np.zeros(3, bool)
    resets = 0
    for step in played:
        np.testing.assert_array_equal(step.first, ended, err_msg="a reset is the step after an end, and no other")
        for e in range(3):
            now = step.observations[e]
            if step.first[e]:
                assert not now[:-1].any() and step.rewards[e] == 0 and not (step.terminated[e] or step.truncated[e])
                resets += 1
            else:
                np.testing.assert_array_equal(now[:-1], before[e, 1:], err_msg="the stack moves by one frame")
        assert not (step.terminated & step.truncated).any()
        assert step.rewards.dtype == np.float32
        before, ended = step.observations, step.terminated | step.truncated
    assert resets >= 2
    envs.close()


@pytest.mark.parametrize("config", [PONG, COUNTING])
def test_one_seed_gives_the_same_play_and_another_does_not(config):
    envs = make_envs(config, 2)
    runs = [play(envs, 60, seed)[1] for seed in (3, 3, 11)]
    same = [
        all(np.array_equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))
        for a, b in zip(runs[0], runs[1], strict=True)
    ]
    assert all(same)
    if config is PONG:
        assert any(not np.array_equal(a.observations, b.observations) for a, b in zip(runs[0], runs[2], strict=True))


def test_counting_shows_every_observation_and_every_kind_of_end():
    envs = make_envs(COUNTING, 1)
    _, played = play(envs, 60)
    expected = []
    for episode in range(12):
        length = 3 + episode % 4
        expected += [
            (episode, t, t == length and episode % 2 == 0, t == length and episode % 2 == 1)
            for t in range(0 if episode else 1, length + 1)
        ]
    seen = [(*s.observations[0, -1], s.terminated[0], s.truncated[0]) for s in played]
    assert seen == expected[:60]
    assert all(
        s.rewards[0] == (0 if s.first[0] else 10 * e + t) for s, (e, t, *_) in zip(played, expected, strict=False)
    )


def test_a_time_limit_truncates_and_a_lost_life_goes_on():
    _, pong = play(make_envs(PONG, 1), 60)
    assert any(s.truncated[0] for s in pong) and not any(s.terminated[0] for s in pong)
    envs = make_envs(BREAKOUT, 4)
    _, played = play(envs, 500)
    lost = sum(int(s.life_lost.sum()) for s in played)
    over = sum(int(s.terminated.sum()) for s in played)
    # five lives a game, the last of which is the game's end and not a lost life
    assert over >= 4 and 4 * over <= lost <= 4 * over + 16


def test_rewards_are_not_clipped():
    _, played = play(make_envs(EnvConfig(id="ALE/MsPacman-v5"), 4), 150)
    assert max(s.rewards.max() for s in played) >= 10


def test_images_become_frames():
    spec = probe(COLOUR)
    assert spec == EnvSpec("apex-tests/Colour-v0", (3, 6, 8), "uint8", 2, 2, 1)
    envs = make_envs(COLOUR, 1)
    observations = envs.reset(0)
    assert observations[0, -1, :, 0, 0].tolist() == [1, 51, 101]
    assert probe(EnvConfig(id="apex-tests/Gray-v0", frame_stack=1)).frame_shape == (6, 8)
    assert probe(EnvConfig(id="CartPole-v1", frame_stack=1)) == EnvSpec("CartPole-v1", (4,), "float32", 1, 2, 1)
    assert probe(EnvConfig(id="ALE/MsPacman-v5")).num_actions == 9
    assert probe(EnvConfig(id="ALE/MsPacman-v5", full_action_space=True)).num_actions == 18


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"id": "ALE/Pnog-v5"}, r"'ALE/Pnog-v5' is no game.*Did you mean 'ALE/Pong-v5'\?"),
        ({"id": "PongNoFrameskip-v9"}, r"Did you mean 'ALE/Pong-v5'\?"),
        ({"id": "CartPole-v7"}, r"not registered.*Did you mean 'CartPole-v[01]'\?"),
        ({"id": "Pendulum-v1"}, r"has actions Box.*expected Discrete"),
        ({"id": "apex-tests/Continuous-v0"}, r"has actions Box.*expected Discrete"),
        ({"id": "apex-tests/DictObservations-v0"}, r"has observations Dict.*expected a Box"),
        ({"id": "apex-tests/FloatImage-v0"}, r"has observations Box.*uint8 image"),
        ({"id": "apex-tests/RaisesOnReset-v0"}, r"RaisesOnReset-v0' can't be used: ValueError: no level file"),
        ({"id": "x-v0", "import_modules": ["no_such_module"]}, r"import_modules: no module 'no_such_module'"),
        ({"id": "CartPole-v1", "kwargs": {"wind": 3}}, r"CartPole-v1' can't be used: TypeError: .*wind"),
    ],
)
def test_refusals(config, message):
    with pytest.raises(UserError, match=message):
        probe(EnvConfig(**config))


def test_a_missing_rom_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(atari.roms, "get_rom_path", lambda name: tmp_path / f"{name}.bin")
    with pytest.raises(UserError, match=r"'ALE/Pong-v5': its ROM is missing; expected .*pong\.bin"):
        probe(PONG)


def zeros(observations):
    return np.zeros((len(observations), 3), np.float32)


def test_rollout_plays_whole_episodes_and_does_not_favour_short_ones():
    played = play_episodes(make_envs(COUNTING, 2), zeros, 6, 0.3, seed=0)
    # each environment plays its own first three episodes: 3, 4 and 5 steps; returns 1+2+3, 11+..+14, 21+..+25
    assert sorted(played.lengths_steps) == [3, 3, 4, 4, 5, 5]
    assert sorted(played.returns) == [6.0, 6.0, 50.0, 50.0, 115.0, 115.0]
    assert played.best[1] == 2


@pytest.mark.parametrize("episode", [(0, 0), (1, 2)])
def test_an_episode_is_filmed_from_its_first_step_to_its_last(episode):
    config = COUNTING.model_copy(update={"frame_stack": 1})
    pictures = replay_episode(make_envs(config, 2, render=True), zeros, 0.0, 0, episode)
    steps = [int(p[0, 0, 0]) for p in pictures]
    assert steps[-1] == 3 + episode[1] and steps == sorted(steps) and steps[0] <= 1


def test_filming_repeats_the_evaluated_play():
    envs = make_envs(PONG, 2)
    played = play_episodes(envs, lambda o: o[:, -1, 30:36, 40].astype(np.float32), 4, 0.2, seed=5)
    lengths = [
        len(list(replay_episode(envs, lambda o: o[:, -1, 30:36, 40].astype(np.float32), 0.2, 5, (e, 1))))
        for e in range(2)
    ]
    assert set(lengths) <= {x + 1 for x in played.lengths_steps} | set(played.lengths_steps)
