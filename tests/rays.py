"""Rays of test programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from apex_ray.site import IMPORTS
from cluster.forked import forks


@contextmanager
def ray_of(num_cpus: int, **options: Any) -> Iterator[None]:
    """A Ray that the program has started by itself; its workers are forks, or each would import torch anew."""
    with forks(IMPORTS) as server:
        with server.makes_workers(dashboard=False):
            ray.init(
                address="local",
                num_cpus=num_cpus,
                include_dashboard=False,
                log_to_driver=False,
                **{"object_store_memory": 2**28, **options},
            )
        try:
            yield
        finally:
            ray.shutdown()
