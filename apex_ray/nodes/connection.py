"""Ray for the length of a run: embedded in this process, or a cluster that is there already."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import ray
import torch

from apex_ray.config.schema import ApexConfig
from apex_ray.parts import Sizes
from cluster.errors import UserError

MIN_OBJECT_STORE_BYTES = 256 * 2**20
CONNECT_TIMEOUT_S = 10.0


def object_store_bytes(config: ApexConfig, sizes: Sizes) -> int:
    """Room for every chunk and batch that can be in flight at once, and as much again for what Ray frees late."""
    chunks = sizes.actors * config.actors.groups * (config.actors.chunks_in_flight + 1) * sizes.chunk_bytes
    batches = (config.learner.prefetch_batches + 2) * sizes.batch_bytes
    return max(2 * (chunks + batches), MIN_OBJECT_STORE_BYTES)


@contextmanager
def connected(config: ApexConfig, sizes: Sizes) -> Iterator[bool]:
    """Ray, initialised; yields whether the learner gets a GPU. An embedded Ray ends with the run."""
    cluster, wanted = config.cluster, sizes.actors * sizes.actor_cpus + sizes.learner_threads + sizes.inference_cpus
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray starts workers at nice 15, so that its own services and every other process preempt the learner all the time.
    os.environ.setdefault("RAY_worker_niceness", "0")
    if cluster.address is None:
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
        _check_reachable(cluster.address)
        try:
            ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _unreachable(cluster.address, str(error).strip().splitlines()[0]) from None
    try:
        have = ray.cluster_resources()  # type: ignore[no-untyped-call]
        if wanted > have.get("CPU", 0):
            raise UserError(
                f"the cluster has {have.get('CPU', 0):g} CPUs and this run needs {wanted} (actors.count = "
                f"{sizes.actors} x {sizes.actor_cpus}, learner {sizes.learner_threads}); lower actors.count"
            )
        yield _learner_gpu(config, have.get("GPU", 0))
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Ray waits minutes for a head that is not there; a connection refused or not made in seconds says so at once."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdigit():
        raise _unreachable(address, "no host:port")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise _unreachable(address, error.strerror or str(error)) from None


def _unreachable(address: str, reason: str) -> UserError:
    return UserError(
        f"cluster.address = {address!r} can't be reached ({reason}); expected auto, host:port, ray://host:port, or "
        "null for a Ray of this run's own"
    )


def _learner_gpu(config: ApexConfig, gpus: float) -> bool:
    device = config.learner.device
    if device.startswith("cuda") and not gpus:
        there = "this machine's torch sees none" if not torch.cuda.is_available() else "Ray was told of none"
        raise UserError(f"learner.device = {device!r}, but the cluster has no GPU ({there}); expected auto or cpu")
    return gpus > 0 and device != "cpu"
