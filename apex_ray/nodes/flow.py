"""Bounded windows of remote calls: every queue between the nodes is one of these. And how the driver hears of ends."""

from __future__ import annotations

import time
from collections import deque
from queue import Empty, SimpleQueue
from typing import Any

import ray
from ray import ObjectRef
from ray.exceptions import RayActorError

# Ray's type stubs don't know concurrency groups or options given ahead of the class.
remote: Any = ray.remote
ONCE = {"max_task_retries": 0}  # options of a call that Ray is not to repeat after a restart


class CallWindow:
    """At most `limit` calls in flight. Reserving room waits for the oldest and raises what it raised."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._calls: deque[ObjectRef[Any]] = deque()
        self.waited_s = 0.0

    @property
    def calls(self) -> int:
        """That were made and not waited for yet."""
        return len(self._calls)

    def wait(self) -> None:
        """Until all have ended. Raises what one raised."""
        ray.get(list(self._calls))

    def reserve(self) -> None:
        """Wait until one more call may be made."""
        if len(self._calls) < self._limit:
            return
        started = time.monotonic()
        ray.get(self._calls.popleft())
        self.waited_s += time.monotonic() - started

    def add(self, call: ObjectRef[Any]) -> None:
        self._calls.append(call)


class LatestCall:
    """At most one call in flight, polled and never waited for. With `may_be_lost`, one whose process ended is dropped:
    for what must not be done twice, and is not worth more.
    """

    def __init__(self, may_be_lost: bool = False) -> None:
        self._call: ObjectRef[Any] | None = None
        self._may_be_lost = may_be_lost

    @property
    def busy(self) -> bool:
        return self._call is not None

    def start(self, call: ObjectRef[Any]) -> None:
        self._call = call

    def let_go(self) -> None:
        """Have Ray not repeat the call when its process is ended."""
        if self._call is not None:
            ray.cancel(self._call)

    def poll(self) -> Any:
        """The result, once, when the call has ended; None before and after. Raises what it raised."""
        if self._call is None or not ray.wait([self._call], timeout=0)[0]:
            return None
        call, self._call = self._call, None
        try:
            return ray.get(call)
        except RayActorError:
            if self._may_be_lost:
                return None
            raise


class Endings:
    """Hears of calls that end. Ray tells of each when it does: waiting costs the same however many there are."""

    def __init__(self) -> None:
        self._ended = SimpleQueue[ObjectRef[Any]]()  # filled by Ray's own thread

    def add(self, call: ObjectRef[Any]) -> None:
        """Hear of this call once, too."""
        call.future().add_done_callback(lambda _: self._ended.put(call))

    def wait(self, timeout_s: float) -> list[ObjectRef[Any]]:
        """The calls that have ended since it was asked last, waited for until there is one."""
        ended = []
        try:
            ended.append(self._ended.get(timeout=max(timeout_s, 0.0)))
            while True:
                ended.append(self._ended.get_nowait())
        except Empty:
            return ended
