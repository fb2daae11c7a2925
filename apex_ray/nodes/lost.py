"""Ends this process when an environment's process has died, so that it is replaced as a lost one is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray import ObjectRef

from apex_ray.envs.base import ProcessLostError

EXIT_CODE = 70
LAST_WORDS_S = 5.0


@contextmanager
def ending_with_its_processes(say: Callable[[str], ObjectRef[Any]]) -> Iterator[None]:
    """Inside, a ProcessLostError ends this process: the supervisor then starts the node anew, within its budget. Its
    user is told by `say`.
    """
    try:
        yield
    except ProcessLostError as error:
        ray.wait([say(str(error))], timeout=LAST_WORDS_S)
        os._exit(EXIT_CODE)
