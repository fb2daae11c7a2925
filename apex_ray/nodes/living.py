"""What every process of a run but the actors has for the supervisor: a call that ends with it, a name of its own, and
whether it has done any work.

Ray starts these processes anew in place: the handle stays, and calls made meanwhile are repeated by Ray. What a call
must do to be repeated without harm is said at each.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import ray

from apex_ray.nodes.processes import Process, this_process

# Threads for the calls below: a process that was out of reach for a while has several of them.
GROUP = {"life": 8, "name": 1}
# Of Ray's options: it restarts and repeats without end, and the supervisor counts.
RESTARTED_IN_PLACE: dict[str, Any] = {"max_restarts": -1, "max_task_retries": -1}
_worked = threading.Event()
LOOK_S = 0.5


def note_work() -> None:
    """Note that this process has done what it is there for: should it be lost, its start is not why."""
    if not _worked.is_set():
        _worked.set()


class Living:
    @ray.method(concurrency_group="life")
    def alive(self) -> None:
        """Never returns."""
        threading.Event().wait()

    @ray.method(concurrency_group="name")
    def process(self) -> Process:
        """Another one after each restart."""
        return this_process()

    @ray.method(concurrency_group="life")
    def worked(self) -> None:
        """Returns when the process has worked (`note_work`)."""
        _worked.wait()


class LivingAsync:
    """The same for an asyncio actor."""

    async def alive(self) -> None:
        await asyncio.Event().wait()

    async def process(self) -> Process:
        return this_process()

    async def worked(self) -> None:
        while not _worked.is_set():
            await asyncio.sleep(LOOK_S)


def restarted() -> bool:
    """Whether this process stands for one that was lost."""
    context = ray.get_runtime_context() if ray.is_initialized() else None
    return context is not None and context.get_actor_id() is not None and context.was_current_actor_reconstructed
