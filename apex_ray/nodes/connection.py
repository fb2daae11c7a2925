"""Ray for the length of a run: embedded in this process, or a cluster that is there already."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import ray
import torch

from apex_ray.config.schema import ApexConfig
from apex_ray.parts import Sizes
from cluster.errors import UserError

MIN_OBJECT_STORE_BYTES = 256 * 2**20


def check_memory(config: ApexConfig, sizes: Sizes) -> None:
    """Refuse a replay that this machine (or `replay.max_bytes`) has no room for. UserError."""
    limit = config.replay.max_bytes or int(0.8 * psutil.virtual_memory().available)
    if sizes.replay_bytes > limit:
        fits = int(config.replay.capacity_transitions * limit / sizes.replay_bytes) // 1000 * 1000
        raise UserError(
            f"replay.capacity_transitions = {config.replay.capacity_transitions} needs "
            f"{sizes.replay_bytes / 2**30:.1f} GiB and {limit / 2**30:.1f} GiB may be used; at most {fits} fit"
        )


def object_store_bytes(config: ApexConfig, sizes: Sizes) -> int:
    """Room for every chunk and batch that can be in flight at once, and as much again for what Ray frees late."""
    chunks = sizes.actors * (config.actors.chunks_in_flight + 1) * sizes.chunk_bytes
    batches = (config.learner.prefetch_batches + 2) * sizes.batch_bytes
    return max(2 * (chunks + batches), MIN_OBJECT_STORE_BYTES)


@contextmanager
def connected(config: ApexConfig, sizes: Sizes) -> Iterator[bool]:
    """Ray, initialised; yields whether the learner gets a GPU. An embedded Ray ends with the run."""
    cluster, wanted = config.cluster, sizes.actors * sizes.actor_threads + sizes.learner_threads
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if cluster.address is None:
        check_memory(config, sizes)
        ray.init(
            address="local",
            # More actors than cores is the user's choice on one machine; Ray would leave them pending for ever.
            num_cpus=max(os.cpu_count() or 1, wanted),
            object_store_memory=cluster.object_store_bytes or object_store_bytes(config, sizes),
            include_dashboard=cluster.dashboard,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    else:
        try:
            ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"cluster.address = {cluster.address!r} can't be reached ({reason}); expected auto, host:port, "
                f"ray://host:port, or null for a Ray of this run's own"
            ) from None
    try:
        have = ray.cluster_resources()  # type: ignore[no-untyped-call]
        if wanted > have.get("CPU", 0):
            raise UserError(
                f"the cluster has {have.get('CPU', 0):g} CPUs and this run needs {wanted} (actors.count = "
                f"{sizes.actors} x {sizes.actor_threads}, learner {sizes.learner_threads}); lower actors.count"
            )
        yield _learner_gpu(config, have.get("GPU", 0))
    finally:
        ray.shutdown()


def _learner_gpu(config: ApexConfig, gpus: float) -> bool:
    device = config.learner.device
    if device.startswith("cuda") and not gpus:
        there = "this machine's torch sees none" if not torch.cuda.is_available() else "Ray was told of none"
        raise UserError(f"learner.device = {device!r}, but the cluster has no GPU ({there}); expected auto or cpu")
    return gpus > 0 and device != "cpu"
