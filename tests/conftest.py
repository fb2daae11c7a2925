"""One thread a process: test processes share the cores, and OpenMP threads burn theirs as they wait for each other.

What starts threads by its configuration still does: it asks torch for them.
"""

import os

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # how long an example takes is the machine's affair
settings.load_profile("untimed")
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def _one_server_of_workers():
    """The Rays that this process's runs start have it one after the other."""
    from apex_ray.site import IMPORTS
    from cluster.forked import kept

    with kept(IMPORTS):
        yield


def pytest_addoption(parser):
    parser.addoption("--every", action="store_true", help="train every environment of test_brought.py on Ray")
