"""Workers of one learner: processes with equal weights, each with rows of its own of every batch.

They learn what one worker learns from the joined batch: gradients are means over equal shares, and importance weights
are relative to the largest of all (Schaul et al. 2016, section 3.4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # which its hints forget


class LostWorkerError(Exception):
    """Another worker is gone or does not answer. Nothing of the update under way has been applied."""


class Share(NamedTuple):
    """Which of a learner's workers this is. Worker 0 has the checkpoints, the reports and the weights for actors."""

    worker: int = 0
    workers: int = 1


ALONE = Share()


class Meeting(NamedTuple):
    """Where the workers find each other: a store in worker 0's process."""

    address: str
    port: int


def open_meeting(address: str, workers: int, limit_s: float) -> tuple[Meeting, TCPStore]:
    """In worker 0, whose machine has that address. Who comes later than `limit_s` is not waited for."""
    store = TCPStore(address, 0, workers, is_master=True, timeout=timedelta(seconds=limit_s), wait_for_workers=False)
    return Meeting(address, store.port), store


def come_to(meeting: Meeting, share: Share, limit_s: float) -> TCPStore:
    """In all others. LostWorkerError where there is no worker 0."""
    try:
        return TCPStore(*meeting, share.workers, is_master=False, timeout=timedelta(seconds=limit_s))
    except RuntimeError as error:
        raise LostWorkerError(str(error)) from None


class Team:
    """What a worker asks of all: each call is made by all of them, in the same order."""

    def __init__(self, store: TCPStore, share: Share, device: torch.device, limit_s: float) -> None:
        """Returns when all have come. LostWorkerError where one has not within `limit_s`, here and in each call."""
        self._share = share
        backend = "nccl" if device.type == "cuda" else "gloo"
        try:
            dist.init_process_group(
                backend,
                store=store,
                rank=share.worker,
                world_size=share.workers,
                timeout=timedelta(seconds=limit_s),
            )
        except RuntimeError as error:
            raise LostWorkerError(str(error)) from None
        self.mean([torch.zeros(1, device=device)])  # NCCL connects at the first call

    def mean(self, tensors: Sequence[Tensor]) -> None:
        """Each becomes its mean over the workers, in place. All of them travel at once."""
        joined = torch.cat([tensor.reshape(-1) for tensor in tensors])
        self._reduce(joined, dist.ReduceOp.SUM)()
        joined /= self._share.workers
        parts = torch.split(joined, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def least(self, value: Tensor) -> Callable[[], Tensor]:
        """Begins to ask for the smallest of the workers' values; the call that it returns waits for it."""
        found = value.clone()
        wait = self._reduce(found, dist.ReduceOp.MIN)

        def least() -> Tensor:
            wait()
            return found

        return least

    @staticmethod
    def _reduce(tensor: Tensor, how: dist.ReduceOp.RedOpType) -> Callable[[], None]:
        """Begins; the call that it returns waits until the tensor is that of all workers."""

        def wait() -> None:
            try:
                work.wait()
            except RuntimeError as error:
                raise LostWorkerError(str(error)) from None

        try:
            work = dist.all_reduce(tensor, how, async_op=True)
        except RuntimeError as error:
            raise LostWorkerError(str(error)) from None
        return wait

    @staticmethod
    def leave() -> None:
        """End what there is of a team in this process: a new one may be formed. Those who wait for it are told."""
        if dist.is_initialized():
            dist.destroy_process_group()
