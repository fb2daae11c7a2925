"""Real games: what AtariEnvs adds to ALE, and what it must set explicitly. The contract itself is in test_make.py."""

import ale_py
import numpy as np
import psutil
import pytest

from apex_ray.config.schema import EnvConfig
from apex_ray.envs.atari import AtariEnvs, games, rom_name
from trainkit.errors import UserError


def make(game, num_envs=2, threads=1, **settings):
    return AtariEnvs(EnvConfig(id=f"ALE/{game}-v5", **settings), num_envs, threads)


def steps(envs, count, seed=1, actions_seed=0):
    """`count` steps of random actions."""
    rng = np.random.default_rng(actions_seed)
    envs.reset(seed)
    for _ in range(count):
        envs.send(rng.integers(envs.spec.num_actions, size=envs.num_envs))
        yield envs.recv()


def test_breakout_loses_four_lives_before_it_ends():
    envs = make("Breakout", num_envs=1)
    lost, terminated = 0, False
    for step in steps(envs, 1500):
        lost += int(step.life_lost[0])
        if step.terminated[0]:
            terminated = True
            break
        assert not step.truncated[0] and not step.first[0], "a lost life must not end the episode"
    assert terminated and lost == 4, "five lives: four are lost before the last, which ends the game"


def test_fewer_lives_at_a_new_episode_are_no_loss():
    """As when a life goes during the no-ops after an episode that was cut with all its lives."""
    envs = make("Breakout", max_episode_frames=40)
    cut = 0
    for step in steps(envs, 25):
        assert not step.life_lost[step.first].any()
        if step.truncated.all():
            cut += 1
            envs._lives = envs._lives + 9
    assert cut == 2


def test_rewards_are_unclipped():
    rewards = np.concatenate([s.rewards for s in steps(make("MsPacman"), 150)])
    assert rewards.dtype == np.float32 and rewards.max() >= 10


def test_the_time_limit_truncates_after_its_frames_without_the_noops():
    envs = make("Pong", num_envs=3, max_episode_frames=200)
    ends = {t: s for t, s in enumerate(steps(envs, 102), start=1) if (s.terminated | s.truncated).any()}
    assert sorted(ends) == [50, 101], "50 steps, one to start anew, 50 more"
    assert all(s.truncated.all() and not s.terminated.any() for s in ends.values())


def test_frame_skip_sets_the_steps_of_a_time_limit():
    envs = make("Pong", num_envs=1, max_episode_frames=200, frame_skip=2)
    assert envs.spec.frame_skip == 2
    assert [t for t, s in enumerate(steps(envs, 110), start=1) if s.truncated[0]] == [100]


def test_sticky_actions_are_what_the_configuration_says():
    """The ids of ale-py register 0.25, its vector environment defaults to 0: only an explicit value is certain."""

    def last(sticky, actions_seed):
        *_, step = steps(make("Pong", num_envs=1, sticky_actions=sticky), 40, actions_seed=actions_seed)
        return step.observations["frames"]

    assert not np.array_equal(last(0.0, 1), last(0.0, 2))
    np.testing.assert_array_equal(last(1.0, 1), last(1.0, 2), "every action repeats the last: choices change nothing")
    assert not np.array_equal(last(0.25, 1), last(0.0, 1))


def test_noops_vary_the_starts():
    def after_twenty_steps(noop_max):
        envs = make("Pong", num_envs=4, noop_max=noop_max)
        envs.reset(3)
        for _ in range(20):  # Pong shows the same picture until its first serve
            envs.send(np.zeros(4, np.int64))
            pictures = envs.recv().observations["frames"]
        return [not np.array_equal(pictures[0], p) for p in pictures]

    assert not any(after_twenty_steps(0))
    assert any(after_twenty_steps(30))


@pytest.mark.parametrize("game", ["MsPacman", "Breakout"])
def test_a_game_begins_with_one_to_noop_max_frames(game):
    """As dqn_zoo's do, never with none; ALE's own would be 0 to noop_max - 1. Breakout's first frame presses FIRE."""
    envs = make(game, num_envs=8, noop_max=3, max_episode_frames=8)
    envs.reset(0)
    played = envs._ale.frames.tolist()
    for step in steps(envs, 60):
        played += envs._ale.frames[step.first].tolist()
    assert len(played) >= 150 and set(played) == {1, 2, 3}


def test_a_life_lost_on_the_step_that_is_cut_is_reported():
    """The learner may take it for an end (env.terminal_on_life_loss), and then nothing may be bootstrapped there."""
    lost = next(t for t, s in enumerate(steps(make("Breakout", num_envs=1), 400), start=1) if s.life_lost[0])
    *_, step = steps(make("Breakout", num_envs=1, max_episode_frames=4 * lost), lost)
    assert step.truncated[0] and step.life_lost[0] and not step.terminated[0]


def areas(length, size):
    """Weights [size, length] that average `length` pixels over `size` equal spans."""
    at, step = np.arange(length), length / size
    begin = np.arange(size)[:, None] * step
    return np.clip(np.minimum(at + 1, begin + step) - np.maximum(at, begin), 0, 1) / step


def as_the_agent_sees(picture):
    """A colour picture [H, W, 3] as luma, averaged over areas down to [84, 84]."""
    luma = np.rint(picture @ np.array([0.299, 0.587, 0.114]))
    return areas(len(luma), 84) @ luma @ areas(luma.shape[1], 84).T


@pytest.mark.parametrize(("game", "all_of_it"), [("Breakout", True), ("Pong", False)])
def test_a_film_shows_the_very_same_game_in_its_colours(game, all_of_it):
    """With sticky actions, no-ops and two games one after the other. Where colours overlap as something moves, the
    brighter of each colour is shown and not the brighter gray: Pong's paddles and ball, a fiftieth of the picture.
    """
    envs = make(game, num_envs=3, sticky_actions=0.25, max_episode_frames=160)
    envs.film(1)
    colours, firsts = set(), 0
    for t, step in enumerate(steps(envs, 90), start=1):
        firsts += int(step.first[1])
        picture = envs.render(1)
        assert picture.shape == (420, 320, 3) and picture.dtype == np.uint8
        if t % 6 == 0 or step.first[1]:
            off = np.abs(as_the_agent_sees(picture[::2, ::2]) - step.observations["frames"][1, -1]) > 1.01
            assert not off.any() if all_of_it else off.mean() < 0.02
            colours |= {tuple(c) for c in picture.reshape(-1, 3)[::7].tolist()}
    assert firsts == 2 and any(len(set(c)) == 3 for c in colours), "there are colours"
    envs.film(None)
    assert envs.render(1).shape == (336, 336, 3)


def test_a_film_of_another_game_would_be_found_out():
    """What the test above relies on."""
    envs = make("Breakout", num_envs=3, max_episode_frames=160)
    envs.film(1)
    apart = [
        (np.abs(as_the_agent_sees(envs.render(1)[::2, ::2]) - step.observations["frames"][2, -1]) > 1.01).any()
        for step in steps(envs, 30)
    ]
    assert np.mean(apart) > 0.5


def test_every_call_is_one_of_its_own_for_the_watchdog():
    """Told by identity: a constant would be one call that never ends. After an exception there is none."""
    envs = make("Pong", num_envs=1)
    whole, seen = envs._ale, []

    class Games:
        def __getattr__(self, name):
            seen.append(envs._watched.doing)
            return getattr(whole, name)

    envs._ale = Games()
    for _ in steps(envs, 2):
        assert envs._watched.doing is None
    calls = [call for call in seen if call is not None]
    assert calls == [(None, "reset()"), (None, "step()"), (None, "step()")] and calls[1] is not calls[2]
    del envs._ale
    for call in (lambda: envs.reset(0), envs.recv):
        with pytest.raises(AttributeError):
            call()
        assert envs._watched.doing is None


def test_settings_reach_the_spec():
    spec = make("Breakout", image_size=64, frame_stack=2, full_action_space=True).spec
    assert (spec.leaf.shape, spec.leaf.stack, spec.num_actions, spec.frame_skip) == ((64, 64), 2, 18, 4)
    assert make("Breakout", image_size=64, frame_stack=2).reset(0)["frames"].shape == (2, 2, 64, 64)


def test_threads_are_as_many_as_asked():
    process = psutil.Process()

    def started(threads):
        before = process.num_threads()
        envs = make("Pong", num_envs=4, threads=threads)
        return process.num_threads() - before, envs

    (one, first), (two, second) = started(1), started(2)
    assert (one, two) == (1, min(2, psutil.cpu_count())), "ALE starts no more threads than there are cores"
    before = process.num_threads()
    first.close()
    second.close()
    assert process.num_threads() == before - one - two, "close() must end them"


def test_closing_twice_is_closing():
    envs = make("Pong")
    envs.film(0)
    envs.close()
    envs.close()


def test_observations_may_be_kept():
    """Docstring's promise: ALE gives a fresh array for each step."""
    kept = [(s.observations["frames"], s.observations["frames"].copy()) for s in steps(make("Pong"), 30)]
    assert all(np.array_equal(a, b) for a, b in kept)


def test_the_picture_is_the_newest_frame_enlarged():
    envs = make("Pong")
    *_, step = steps(envs, 5)
    picture = envs.render(1)
    assert picture.shape == (336, 336, 3) and picture.dtype == np.uint8
    for colour in range(3):
        np.testing.assert_array_equal(picture[::4, ::4, colour], step.observations["frames"][1, -1])
        np.testing.assert_array_equal(picture[3::4, 3::4, colour], step.observations["frames"][1, -1])


def test_an_action_out_of_range_is_an_error_instead_of_a_hang():
    envs = make("Breakout")
    envs.reset(0)
    for wrong in (4, -1):
        with pytest.raises(ValueError, match=r"outside 0..3 of ALE/Breakout-v5"):
            envs.send(np.array([0, wrong]))
    envs.send(np.array([0, 3]))
    assert envs.recv().rewards.shape == (2,)


def test_any_seed_is_taken():
    envs = make("Breakout", num_envs=1, noop_max=0)
    for seed in (0, 2**31 - 1, 2**40):
        assert envs.reset(seed)["frames"].any()


def test_every_game_has_its_rom():
    assert rom_name("ALE/MsPacman-v5") == "ms_pacman"
    assert len(games()) > 90 and all(rom_name(game) for game in games())


def test_an_unknown_game_names_the_nearest():
    with pytest.raises(UserError, match=r"'ALE/Brekout-v5' is no game .* Did you mean 'ALE/Breakout-v5'"):
        make("Brekout")


def test_a_missing_rom_says_which_file_was_expected(tmp_path, monkeypatch):
    monkeypatch.setenv("ALE_ROMS_DIR", str(tmp_path))
    with pytest.raises(UserError, match=f"ALE/Pong-v5.*expected the file {tmp_path}/pong.bin"):
        make("Pong")
    (tmp_path / "pong.bin").write_bytes(b"not a game")
    with pytest.raises(UserError, match=f"{tmp_path}/pong.bin.*hash"):
        make("Pong")
    monkeypatch.setenv("ALE_ROMS_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"nowhere/pong.bin"):
        make("Pong")


def test_kwargs_that_would_be_ignored_are_refused():
    with pytest.raises(UserError, match=r"env.kwargs = .*frameskip.* no effect"):
        make("Pong", kwargs={"frameskip": 2})


def test_the_installed_ale_is_the_one_these_facts_were_seen_with():
    """Autoreset, zero frames and lives are ALE's behaviour, not its promise: look again when this fails."""
    assert ale_py.__version__.startswith("0.12.")
