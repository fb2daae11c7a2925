"""Episodes of a fixed policy: exactly as many as asked, without favour for short ones, and filmed by playing again."""

import numpy as np
import pytest

from apex_ray.config.schema import EnvConfig
from apex_ray.envs.make import make_envs
from apex_ray.envs.rollout import StoppedError, play_episodes, replay_episode
from tests.fakes import CountingEnvs, Episode, Mark, QPlayer, decode, reward_of

SHORT, LONG = Episode(2), Episode(20, "truncated")


def prefers(action, num_actions=3):
    return QPlayer(lambda observations: np.eye(num_actions, dtype=np.float32)[[action] * len(observations)])


def returns_of(env, lengths):
    """The return of each episode of these lengths, one after the other: its first frame brings no reward."""
    counter, returns = 1, []
    for length in lengths:
        returns.append(sum(reward_of(env, counter + t) for t in range(1, length + 1)))
        counter += length + 1
    return returns


def test_short_episodes_are_not_favoured():
    """Six episodes: taking the first six to end would give five short ones and at most one long one."""
    played = play_episodes(CountingEnvs([[SHORT], [LONG]]), prefers(0), 6, 0.0, seed=1)
    assert sorted(played.lengths_steps) == [2, 2, 2, 20, 20, 20]


@pytest.mark.parametrize("episodes", [1, 2, 3, 5, 7])
def test_exactly_as_many_as_asked(episodes):
    played = play_episodes(CountingEnvs([[SHORT], [LONG], [Episode(3)]]), prefers(0), episodes, 0.0, seed=1)
    assert len(played.returns) == len(played.lengths_steps) == episodes
    quotas = [sum(length == n for length in played.lengths_steps) for n in (2, 20, 3)]
    assert max(quotas) - min(quotas) <= 1


def test_returns_are_unclipped_sums_of_whole_episodes():
    lengths = [4, 1, 9]
    script = [Episode(4), Episode(1, "truncated"), Episode(9, lives_lost_at=(3, 5))]
    played = play_episodes(CountingEnvs([script, script]), prefers(0), 6, 0.0, seed=1)
    assert played.lengths_steps == [4, 4, 1, 1, 9, 9]
    assert played.returns[::2] == returns_of(0, lengths) and played.returns[1::2] == returns_of(1, lengths)
    assert max(abs(r) for r in played.returns) > 1


def test_epsilon_zero_is_greedy_and_epsilon_one_is_uniform():
    envs = CountingEnvs([[LONG]] * 10)
    play_episodes(envs, prefers(2), 20, 0.0, seed=1)
    assert {a for step in envs.actions for a in step} == {2}
    play_episodes(envs, prefers(2), 20, 1.0, seed=1)
    counts = np.bincount(np.ravel(envs.actions), minlength=3) / np.size(envs.actions)
    np.testing.assert_allclose(counts, 1 / 3, atol=0.09)  # 410 draws: 0.09 is four standard deviations


def test_a_seed_gives_the_same_actions():
    def actions(seed):
        envs = CountingEnvs([[LONG]] * 2)
        play_episodes(envs, prefers(1), 2, 0.5, seed)
        assert envs.seeds == [seed]
        return envs.actions

    assert actions(4) == actions(4) != actions(5)


def test_the_policy_sees_each_observation_once():
    seen = []

    def policy(observations):
        seen.append([decode(f) for f in observations[:, -1]])
        return np.eye(3, dtype=np.float32)[[0] * len(observations)]

    play_episodes(CountingEnvs([[SHORT]]), QPlayer(policy), 2, 0.0, seed=1)
    expected = [Mark(0, 0, 0, 1), Mark(0, 0, 1, 2), Mark(0, 0, 2, 3), Mark(0, 1, 0, 4), Mark(0, 1, 1, 5)]
    assert [marks[0] for marks in seen] == expected


def test_the_best_episode_is_filmed_and_no_other():
    """Several environments and episodes; the pictures carry their mark, so that they name the episode themselves."""
    scripts = [[Episode(3), Episode(6)], [Episode(2), Episode(5), Episode(8)]]
    envs = CountingEnvs(scripts)
    played = play_episodes(envs, prefers(0), 6, 0.3, seed=7)
    per_env = [returns_of(0, [3, 6, 3]), returns_of(1, [2, 5, 8])]
    best = max((r, e, i) for e, returns in enumerate(per_env) for i, r in enumerate(returns))
    assert played.best == best[1:] and best[0] == max(played.returns)
    before = envs.actions
    marks = [decode(p[:, :, 0]) for p in replay_episode(envs, prefers(0), 0.3, 7, played.best)]
    assert {(m.env, m.episode) for m in marks} == {played.best}
    assert marks[-1].step == [[3, 6, 3], [2, 5, 8]][best[1]][best[2]], "up to the last step"
    assert [m.counter for m in marks] == list(range(marks[0].counter, marks[0].counter + len(marks)))
    assert envs.actions == before[: len(envs.actions)], "the same actions as when it was played"


@pytest.mark.parametrize("episode", [0, 1, 2])
def test_a_film_runs_from_the_first_observation_to_the_last(episode):
    envs = CountingEnvs([[Episode(3), Episode(6)]])
    marks = [decode(p[:, :, 0]) for p in replay_episode(envs, prefers(0), 0.0, 1, (0, episode))]
    assert [m.step for m in marks] == list(range([3, 6, 3][episode] + 1))


def stops_at(step, num_envs):
    return lambda episodes, steps: steps >= step * num_envs


def test_stopped_episodes_count_by_whole_rounds():
    """Environment 0 ends four in the time in which environment 1 ends one: those that ended would favour short ones."""
    scripts = [[Episode(4)], [Episode(20)]]
    played = play_episodes(CountingEnvs(scripts), prefers(0), 10, 0.0, 1, stops_at(30, 2))
    assert sorted(played.lengths_steps) == [4, 20] and played.asked == 10 and played.cut_steps is None
    assert sorted(played.returns) == sorted(returns_of(0, [4]) + returns_of(1, [20]))
    assert played.best == max((returns_of(e, [n])[0], (e, 0)) for e, n in ((0, 4), (1, 20)))[1]


def test_who_has_played_all_holds_up_no_round():
    """Three episodes of two environments: the first has two, and the second has no second that could be missing."""
    scripts = [[Episode(4)], [Episode(3)]]
    played = play_episodes(CountingEnvs(scripts), prefers(0), 3, 0.0, 1, stops_at(8, 2))
    assert sorted(played.lengths_steps) == [3, 4], "the first's second episode did not end"
    assert len(play_episodes(CountingEnvs(scripts), prefers(0), 3, 0.0, 1, stops_at(10, 2)).returns) == 3


def test_where_no_round_is_whole_all_are_cut_at_the_same_step():
    scripts = [[Episode(4)], [LONG], [Episode(1000)]]
    played = play_episodes(CountingEnvs(scripts), prefers(0), 6, 0.0, 1, stops_at(10, 3))
    assert sorted(played.lengths_steps) == [4, 10, 10] and played.cut_steps == 10
    assert sorted(played.returns) == sorted(returns_of(0, [4]) + returns_of(1, [10]) + returns_of(2, [10]))


def test_a_watch_hears_of_every_step():
    heard = []

    def watch(episodes, steps):
        heard.append((episodes, steps))
        return False

    play_episodes(CountingEnvs([[SHORT], [SHORT]]), prefers(0), 4, 0.0, 1, watch)
    assert heard == [(0, 0), (0, 2), (2, 4), (2, 6), (2, 8)]


def test_a_film_can_be_stopped():
    pictures = replay_episode(CountingEnvs([[Episode(1000)]]), prefers(0), 0.0, 1, (0, 0), stops_at(5, 1))
    with pytest.raises(StoppedError):
        for count, _ in enumerate(pictures, start=1):
            assert count <= 5


def test_atari_is_the_same_game_when_played_again():
    """Filming by replay stands on this: ALE with sticky actions, random actions and several episodes an environment."""
    config = EnvConfig(id="ALE/Breakout-v5", max_episode_frames=160, sticky_actions=0.25)
    envs = make_envs(config, 2)

    def policy(observations):
        return np.float32(observations[:, -1].reshape(2, 4, -1).sum(2) % 101)  # any function of the picture

    def play():
        last = []

        def watch(observations):
            last.append(observations.copy())
            return policy(observations)

        return play_episodes(envs, QPlayer(watch), 4, 0.2, seed=3), last

    (once, frames), (again, frames_again) = play(), play()
    assert once == again and all(np.array_equal(a, b) for a, b in zip(frames, frames_again, strict=True))
    e, index = once.best
    pictures = list(replay_episode(envs, QPlayer(policy), 0.2, 3, (e, index)))
    assert len(pictures) == 41, "40 steps an episode and its start"
    assert all(picture.shape == (420, 320, 3) for picture in pictures), "in colours"
    assert (pictures[0] != pictures[-1]).any()


def test_an_evaluation_whose_time_was_up_at_its_start_is_cut_after_a_step():
    """Resets may take all of it."""
    envs = CountingEnvs([[Episode(3)], [Episode(4)]])
    played = play_episodes(envs, prefers(0), 4, 0.0, seed=1, watch=lambda episodes, steps: True)
    assert played.lengths_steps == [1, 1] and played.cut_steps == 1
