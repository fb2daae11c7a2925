"""Names an environment whose reset or step does not return.

It is waited for all the same, until Ctrl-C: a slow reset is no mistake, and who hangs once would hang again in a new
process. An environment that hangs in C code and keeps Python's lock can't be named from inside its process.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Self

from apex_ray.envs.checks import ended_program
from trainkit.errors import UserError

Say = Callable[[str], None]
LOOK_S = 1.0  # between two looks at environments that may take long
forks = 0  # how many lie between the program that was started and this process


def _count_fork() -> None:
    global forks
    forks += 1


os.register_at_fork(after_in_child=_count_fork)


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Watched:
    """Where a vector of environments is. Its owner makes each call inside `with watched(index, what)`.

    `doing` is (index of the environment or None for all, what is called), and each call is told by its own tuple.
    UserError for a call that ends the program. One that forks it comes back in two processes: the child ends here, it
    would be the same run once more.
    """

    def __init__(self, env_id: str, limit_s: float) -> None:
        self.env_id, self.limit_s, self._forks = env_id, limit_s, forks
        self.doing: tuple[int | None, str] | None = None
        # Of the watching thread: the call that it saw last, since when, and how long that was when it was told last.
        self.seen: tuple[int | None, str] | None = None
        self.since = 0.0
        self.reported_s = 0.0  # 0: nothing told of this call
        _watching.add(self)

    def __call__(self, index: int | None, what: str) -> Self:
        self.doing = (index, what)  # a new tuple for each call: the watching thread compares by identity
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        doing, self.doing = self.doing, None
        if forks != self._forks:
            os._exit(0)
        if kind is SystemExit and isinstance(error, SystemExit) and doing is not None:
            raise ended_program(_name(self, doing), f"in {doing[1]}", error) from error


class _Watching:
    """One thread a process, while there are environments in it."""

    def __init__(self) -> None:
        self.say: Say = _to_stderr
        self.write_stacks: Callable[[], str] | None = None
        self.all: weakref.WeakSet[Watched] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._added = threading.Event()

    def add(self, watched: Watched) -> None:
        with self._lock:
            self.all.add(watched)
            self._added.set()  # its limit may be far below the others'
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="environments' watchdog", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while (wait_s := self._look_at_all()) is not None:
            self._added.wait(wait_s)
            self._added.clear()

    def _look_at_all(self) -> float | None:
        """Seconds until the next look, None where there is nothing left. What is looked at is not kept alive by it."""
        with self._lock:
            every = list(self.all)
            if not every:
                self._thread = None
                return None
        for watched in every:
            self._look(watched, time.monotonic())
        return min([LOOK_S, *(w.limit_s / 4 for w in every)])

    def _look(self, w: Watched, now: float) -> None:
        doing = w.doing  # its owner goes on meanwhile
        if doing is not w.seen:
            if w.reported_s and w.seen is not None:
                self.say(f"{_name(w, w.seen)} returned from {w.seen[1]} after {now - w.since:.0f} s")
            w.seen, w.since, w.reported_s = doing, now, 0.0
        elif doing is not None and now - w.since >= max(w.limit_s, 2 * w.reported_s):
            w.reported_s = now - w.since
            stacks = f"; {self.write_stacks()}" if self.write_stacks else ""
            self.say(
                f"{_name(w, doing)} has been in {doing[1]} for {w.reported_s:.0f} s (env.step_limit_s = "
                f"{w.limit_s:g}); it is waited for, Ctrl-C ends the run{stacks}"
            )


def _name(w: Watched, doing: tuple[int | None, str]) -> str:
    return w.env_id if doing[0] is None else f"environment {doing[0]} of {w.env_id}"


_watching = _Watching()


def say_with(say: Say, write_stacks: Callable[[], str] | None = None) -> None:
    """Where this process's messages go; by default to stderr. `write_stacks` writes its stacks, and says where."""
    _watching.say, _watching.write_stacks = say, write_stacks


def leave_hanging() -> None:
    """UserError where an environment of this process hangs. For a signal's handler: it is raised out of its call."""
    for w in list(_watching.all):
        if (doing := w.doing) is not None and doing is w.seen and w.reported_s:
            raise UserError(
                f"{_name(w, doing)} had been in {doing[1]} for {time.monotonic() - w.since:.0f} s (env.step_limit_s = "
                f"{w.limit_s:g}) when the run was asked to stop; env.processes=true ends such an environment by itself"
            )
