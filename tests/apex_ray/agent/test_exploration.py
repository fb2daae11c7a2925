import numpy as np
import pytest

from apex_ray.agent.exploration import actor_epsilons, epsilon_greedy, epsilon_ladder, epsilons_now


def test_ladder_of_the_paper():
    # Horgan et al. 2018: eight actors, epsilon = 0.4, alpha = 7: 0.4^1 ... 0.4^8
    np.testing.assert_allclose(epsilon_ladder(8, 0.4, 7.0), [0.4**k for k in range(1, 9)], rtol=1e-6)
    np.testing.assert_allclose(epsilon_ladder(1, 0.4, 7.0), [0.4], rtol=1e-6)


def test_actors_share_the_ladder_without_gap_or_overlap():
    rungs = np.concatenate([actor_epsilons(a, 3, 4, 0.4, 7.0) for a in range(3)])
    np.testing.assert_array_equal(np.sort(rungs), np.sort(epsilon_ladder(12, 0.4, 7.0)))
    for actor in range(3):  # each one spans it
        mine = actor_epsilons(actor, 3, 4, 0.4, 7.0)
        assert mine.max() > 0.1 and mine.min() < 0.01


def test_each_environment_explores_by_its_own_epsilon():
    q = np.tile(np.array([0.0, 5.0, 1.0], np.float32), (3, 1))
    rng = np.random.default_rng(0)
    rounds = 3000
    actions = np.array([epsilon_greedy(q, np.array([0.0, 0.3, 1.0]), rng) for _ in range(rounds)])
    greedy = (actions == 1).mean(axis=0)
    # a random action is the greedy one in a third of the cases; 4 standard deviations of 3000 draws
    np.testing.assert_allclose(greedy, [1.0, 0.7 + 0.1, 1 / 3], atol=4 * 0.5 / np.sqrt(rounds))
    assert greedy[0] == 1.0


def test_a_schedule_is_what_every_environment_explores_at_least():
    rungs, schedule = np.float32([0.4, 0.1, 0.001]), ((0, 1.0), (100, 0.05))
    by_update = {0: [1, 1, 1], 80: [0.4, 0.24, 0.24], 100: [0.4, 0.1, 0.05], 999: [0.4, 0.1, 0.05]}
    for update, expected in by_update.items():
        assert epsilons_now(rungs, schedule, update) == pytest.approx(expected)
    assert epsilons_now(rungs, (), 0) is rungs
