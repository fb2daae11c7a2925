"""Environments that need a memory."""

import numpy as np
import pytest

from apex_ray.envs.memory_tasks import TMaze, masked_cartpole

NORTH, EAST, SOUTH, WEST = range(4)


def test_a_cart_s_velocities_are_not_seen():
    env = masked_cartpole()
    whole = env.unwrapped
    seen, _ = env.reset(seed=3)
    for action in (0, 1, 1):
        assert seen.tolist() == [np.float32(whole.state[0]), np.float32(whole.state[2])]
        seen = env.step(action)[0]
    assert env.observation_space.contains(seen)
    assert env.spec.max_episode_steps == 500


@pytest.mark.parametrize("right", [True, False])
def test_a_maze_is_as_in_the_paper(right):
    env, ways = TMaze(length=3), set()
    for seed in range(8):
        seen, _ = env.reset(seed=seed)
        north = seen.tolist() == [0, 1, 1]
        assert north or seen.tolist() == [1, 1, 0]
        ways.add(north)
        assert env.step(NORTH)[1:3] == (-0.1, False), "a wall"
        assert env.step(WEST)[1:3] == (-0.1, False), "a wall"
        for last in (False, False, True):
            seen, reward, *over, _ = env.step(EAST)
            assert (reward, over) == (0.0, [False, False])
            assert seen.tolist() == ([0, 1, 0] if last else [1, 0, 1]), "which way is not told again"
        turn = NORTH if north == right else SOUTH
        assert env.step(turn)[1:3] == (4.0 if right else -0.1, True)
    assert ways == {True, False}


def test_who_does_not_turn_is_cut_off():
    env = TMaze(length=3)
    env.reset(seed=0)
    assert [env.step(EAST)[3] for _ in range(9)] == [False] * 8 + [True]
