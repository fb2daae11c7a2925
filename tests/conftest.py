"""One thread a process: test processes share the cores, and OpenMP threads burn theirs as they wait for each other.

What starts threads by its configuration still does: it asks torch for them.
"""

import os

from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # how long an example takes is the machine's affair
settings.load_profile("untimed")
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser):
    parser.addoption("--every", action="store_true", help="train every environment of test_brought.py on Ray")
