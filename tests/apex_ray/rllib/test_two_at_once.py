"""Two algorithms in a program that never called ray.init(): each goes on when the other has stopped."""

import re

import psutil
import pytest
import ray

from tests.apex_ray.rllib.facade import config

pytestmark = pytest.mark.timeout(300)


def nodes():
    """Processes of runs, of this program's Ray."""
    lines = [" ".join(process.cmdline()) for process in psutil.Process().children(recursive=True)]
    return [line for line in lines if re.search(r"ray::\w+Node", line)]


@pytest.mark.parametrize("stopped_first", [0, 1], ids=["the one that started Ray", "the one that joined it"])
def test_the_last_one_ends_ray(tmp_path, stopped_first):
    assert not ray.is_initialized()
    both = [config(tmp_path / name, actors={"count": 1}).build_algo() for name in ("one", "two")]
    try:
        for algorithm in both:
            algorithm.train()
        each = len(nodes()) // 2
        both[stopped_first].stop()
        assert len(nodes()) == each and ray.is_initialized()
        left = both[1 - stopped_first]
        assert left.train()["num_env_steps_sampled_lifetime"] > 0
        left.stop()
        assert not nodes() and not ray.is_initialized()
    finally:
        for algorithm in both:
            algorithm.stop()
