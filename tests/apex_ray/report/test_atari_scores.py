import ale_py
import gymnasium
import pytest

from apex_ray.report.atari_scores import ATARI_SCORES, human_normalised


def test_the_57_games_by_the_names_ale_gives_them() -> None:
    gymnasium.register_envs(ale_py)
    assert len(ATARI_SCORES) == 57
    assert [game for game in ATARI_SCORES if f"ALE/{game}-v5" not in gymnasium.registry] == []
    assert list(ATARI_SCORES) == sorted(ATARI_SCORES)


def test_the_figures_by_their_sums_and_known_pairs() -> None:
    # Sums of the columns of DQN Zoo's atari_data.py (commit 45061f4), compared figure by figure when this was written:
    # a digit changed by accident shows.
    assert sum(random for random, _ in ATARI_SCORES.values()) == pytest.approx(50864.9, abs=0.05)
    assert sum(human for _, human in ATARI_SCORES.values()) == pytest.approx(606494.2, abs=0.05)
    assert ATARI_SCORES["Pong"] == (-20.7, 14.6)
    assert all(human > random for random, human in ATARI_SCORES.values())


@pytest.mark.parametrize(
    "env_id", ["ALE/Breakout-v5", "Breakout-v4", "BreakoutNoFrameskip-v4", "BreakoutDeterministic-v0"]
)
def test_random_play_is_0_and_human_play_1(env_id: str) -> None:
    assert human_normalised(env_id, 1.7) == 0
    assert human_normalised(env_id, 30.5) == 1
    assert human_normalised(env_id, 59.3) == pytest.approx(2)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "ALE/Tetris-v5", "Skiing-v1", "SonicTheHedgehog-Genesis", "Pong"])
def test_other_environments_have_no_scale(env_id: str) -> None:
    assert human_normalised(env_id, 100) is None
