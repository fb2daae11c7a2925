"""Two algorithms in a program that never called ray.init(): each goes on when the other has stopped."""

import contextlib
import re
import time

import psutil
import pytest
import ray

from tests.apex_ray.rllib.facade import config

pytestmark = pytest.mark.timeout(300)


def nodes():
    """Processes of runs, of this program's Ray."""
    count = 0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            count += re.search(r"ray::\w+Node", " ".join(process.cmdline())) is not None
    return count


def nodes_after(count):
    """How many there are once there are `count`, or after seconds: what is killed takes some to go."""
    until = time.monotonic() + 60.0
    while (now := nodes()) != count and time.monotonic() < until:
        time.sleep(0.1)
    return now


@pytest.mark.parametrize("stopped_first", [0, 1], ids=["the one that started Ray", "the one that joined it"])
def test_the_last_one_ends_ray(tmp_path, stopped_first):
    assert not ray.is_initialized()
    both = [config(tmp_path / name, actors={"count": 1}).build_algo() for name in ("one", "two")]
    try:
        for algorithm in both:
            algorithm.train()
        each = nodes() // 2
        both[stopped_first].stop()
        assert nodes_after(each) == each > 0 and ray.is_initialized()
        left = both[1 - stopped_first]
        assert left.train()["num_env_steps_sampled_lifetime"] > 0
        left.stop()
        assert nodes_after(0) == 0 and not ray.is_initialized()
    finally:
        for algorithm in both:
            algorithm.stop()
