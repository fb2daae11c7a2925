"""Ends this process when an environment's process has died, so that it is replaced as a lost one is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from apex_ray.envs.base import ProcessLostError

EXIT_CODE = 70


@contextmanager
def ending_with_its_processes() -> Iterator[None]:
    """Inside, a ProcessLostError ends this process: the supervisor then starts the node anew, within its budget."""
    try:
        yield
    except ProcessLostError as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(EXIT_CODE)
