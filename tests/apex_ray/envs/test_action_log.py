"""The actions of a run, as they were sent and in as little memory as they need."""

import numpy as np

from apex_ray.envs.action_log import BLOCK_STEPS, ActionLog
from tests.fakes import CountingEnvs, Episode


def test_all_actions_are_kept_across_blocks_and_played_again():
    rng, steps = np.random.default_rng(0), BLOCK_STEPS + 5
    sent = rng.integers(3, size=(steps, 2))
    log = ActionLog(CountingEnvs([[Episode(5)], [Episode(7)]]))
    log.reset(3)
    assert log.actions.shape == (0, 2)
    for row in sent:
        log.send(row)
        last = log.recv().observations["frames"]
    assert log.actions.dtype == np.int32 and np.array_equal(log.actions, sent)
    assert sum(block.nbytes for block in log._blocks) <= 4 * 2 * (steps + BLOCK_STEPS), "4 bytes each, and no objects"
    again, played = ActionLog(CountingEnvs([[Episode(5)], [Episode(7)]])), []
    again.reset(3)
    np.testing.assert_array_equal(again.play_again(log.actions, played.append)["frames"], last)
    assert np.array_equal(again.actions, sent) and played == [2] * steps
    again.reset(3)
    assert not len(again.actions)
