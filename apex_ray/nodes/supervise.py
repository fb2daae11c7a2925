"""Which errors end a run and which are answered by a new process, within a budget."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import ObjectRef
from ray.exceptions import ActorUnavailableError, ActorUnschedulableError, RayActorError, RayError, RayTaskError

from apex_ray.nodes.flow import ONCE, Endings
from apex_ray.nodes.processes import Process, write_stacks
from apex_ray.report.failure import describe
from cluster.ray_private import actor_id, restarts
from trainkit.errors import UserError
from trainkit.storage import shown

# Ray sees that a killed node is gone after 15 s, and after 65 s where packets vanish: 5 checks of 10 s, 3 s apart.
VERDICT_S = 120.0
LOOK_EVERY_S, FAILED_STARTS = 2.0, 2
SEVERAL = ("actor ", "relay ", "inference ")  # how the names of those begin that are one part together


@dataclass(frozen=True)
class Gone:
    """What is known of a process that has ended, or is out of reach."""

    node: str | None = None  # the address of its node, where that is gone too
    dismissed: bool = False  # it was asked to leave
    at_start: bool = False  # it had not done any work


@dataclass
class Watched:
    """A node's calls, of which the last is endless: how to start it anew (None: it can't be), and how to find out how
    it went. `follow` is given what a call that ended gave: the call after it, None where there was to be no end.
    """

    name: str
    restart: Callable[[], ObjectRef[Any]] | None
    gone: Callable[[], Gone] = Gone
    follow: Callable[[Any], ObjectRef[Any] | None] = lambda result: None


@dataclass
class Kept:
    """A process that Ray starts anew in its place (nodes/living.py), and what is to be done when it has."""

    name: str
    node: Any
    restored: Callable[[], None]
    busy: Callable[[], bool]  # whether there is work for it
    gone: Callable[[float], bool]  # given the seconds since it was lost: whether it is not to come back
    call: ObjectRef[Any]  # ends when the process does
    worked: ObjectRef[None]  # ends when it has done some work
    process: ObjectRef[Process]  # that these calls are to
    lost_at: float | None = None  # None: it is there
    error: BaseException | None = None  # of the loss
    at_start: bool = False  # it was lost before it had done the work that it had
    restarts: int = 0  # that Ray had made when it answered last
    ask: ObjectRef[Process] | None = None  # who is there now


def root_cause(error: BaseException) -> BaseException:
    """What really happened: a task's own exception, or the loss of the process it was talking to."""
    while isinstance(error, RayTaskError) and isinstance(error.cause, BaseException) and error.cause is not error:
        error = error.cause
    return error


def as_user_error(name: str, error: BaseException, run: Path) -> UserError:
    """The one message for an error that ends the run."""
    return describe(name, root_cause(error), run, error)


class Supervisor:
    """Watches all nodes. A mistake in configuration, environment or code ends the run at once; only a lost process is
    replaced, no more than `max_restarts` times for each part of the run: the actors together are one, and so are the
    nodes' helpers of a kind. An actor that went with its whole node is not counted: nodes come and go, crash loops
    don't take their node along. Nor is one that was asked to leave. What is lost twice in a row before it has done any
    work would be lost so again: that ends the run, however much of its budget is left.
    """

    def __init__(self, run: Path, max_restarts: int, say: Callable[[str], None]) -> None:
        self._run, self._max_restarts, self._say = run, max_restarts, say
        self._endings = Endings()
        self._watched: dict[ObjectRef[Any], Watched] = {}
        self._out_of_reach: list[tuple[Watched, BaseException, float]] = []  # and until when Ray may say why
        self._kept: dict[str, Kept] = {}
        self._names: dict[str, str] = {}  # by Ray's id of the actor
        self._spent: Counter[str] = Counter()  # restarts by part
        self._failed_starts: set[str] = set()  # whose last process was lost at its start
        self._looked_at = 0.0

    @property
    def restarts(self) -> int:
        return self._spent.total()

    def keep(
        self,
        name: str,
        node: Any,
        restored: Callable[[], None] = lambda: None,
        busy: Callable[[], bool] = lambda: True,
        gone: Callable[[float], bool] = lambda lost_s: False,
    ) -> Any:
        """Watch a process that Ray starts anew; `restored` is called when it has. Returns the handle.

        One that is lost while it is not `busy` was not lost at its start, whatever it has done. `gone` is asked while
        it is lost, with the seconds since then, whether it is to be watched no more.
        """
        self._names[actor_id(node)] = name
        who = node.process.options(**ONCE).remote()
        self._kept[name] = Kept(name, node, restored, busy, gone, *self._calls(node), who)
        return node

    def drop(self, *names: str) -> None:
        """Watch the processes of these names no more: they are to end."""
        gone = set(names)
        self._kept = {name: kept for name, kept in self._kept.items() if name not in gone}
        self._watched = {call: watched for call, watched in self._watched.items() if watched.name not in gone}
        self._out_of_reach = [lost for lost in self._out_of_reach if lost[0].name not in gone]

    def _calls(self, node: Any) -> tuple[ObjectRef[Any], ObjectRef[None]]:
        alive = node.alive.options(**ONCE).remote()
        self._endings.add(alive)
        return alive, node.worked.options(**ONCE).remote()

    def watch(self, call: ObjectRef[Any], watched: Watched) -> None:
        self._watched[call] = watched
        self._endings.add(call)

    def let_go(self) -> None:
        """The run ends: its endless calls, which Ray would repeat and say so, are not to be."""
        for call in self._watched:
            ray.cancel(call)

    def check(self, timeout_s: float) -> None:
        """Wait up to `timeout_s` for a call to end. UserError when the run can't go on.

        What it costs does not depend on how many are watched while none of them ends.
        """
        ended = self._endings.wait(timeout_s)
        lives = {kept.call: kept for kept in self._kept.values() if kept.lost_at is None}
        for kept in [lives[call] for call in ended if call in lives]:
            self._note_loss(kept)
        failures = [failure for call in ended if (failure := self._failure(call)) is not None]
        # A lost shard or learner makes everyone who talks to it fail too: name the one that can't be replaced.
        for watched, error in sorted(failures, key=lambda f: f[0].restart is not None):
            if watched.restart is not None and watched.gone().dismissed and not isinstance(error, RayTaskError):
                self.watch(watched.restart(), watched)
                continue
            if not isinstance(root_cause(error), RayActorError):
                raise as_user_error(watched.name, error, self._run)
            if isinstance(error, ActorUnavailableError) and watched.restart is not None:
                self._say(f"{watched.name} is out of reach")
                self._out_of_reach.append((watched, error, time.monotonic() + VERDICT_S))
            else:
                self._replace(watched, error)
        self._judge()
        for kept in list(self._kept.values()):
            if kept.lost_at is not None:
                self._look_for(kept)
        if time.monotonic() - self._looked_at > LOOK_EVERY_S:
            self._looked_at = time.monotonic()
            self._look_for_failed_starts()

    def _failure(self, call: ObjectRef[Any]) -> tuple[Watched, BaseException] | None:
        """What a call that has ended came to; None where another follows it, or nobody asks any more."""
        if (watched := self._watched.pop(call, None)) is None:
            return None
        try:
            result = ray.get(call)
        except RayError as error:
            return watched, error
        if (following := watched.follow(result)) is None:
            return watched, RuntimeError("its loop ended by itself")
        self.watch(following, watched)
        return None

    def kill_hung(self, name: str, why: str) -> bool:
        """End a process that Ray starts anew, as one that was lost; False where `name` is none such, or is lost."""
        kept = self._kept.get(name)
        if kept is None or kept.lost_at is not None:
            return False
        self.say_hung(name, why, {name: process} if (process := self._there(kept)) else {})
        ray.kill(kept.node, no_restart=False)
        return True

    def has_begun(self, name: str) -> bool:
        """False while the first process of that name has not answered yet."""
        kept = self._kept.get(name)
        return kept is None or self._there(kept) is not None

    def say_hung(self, name: str, why: str, processes: Mapping[str, Process]) -> None:
        """That its process is ended, with its stacks."""
        self._say(f"{why}; its process is ended; {write_stacks(self._run, processes)}")

    @property
    def processes(self) -> dict[str, Process]:
        """Those that Ray starts anew, by name."""
        found = {name: self._there(kept) for name, kept in self._kept.items()}
        return {name: process for name, process in found.items() if process is not None}

    def _there(self, kept: Kept) -> Process | None:
        """The process of now; None while it is not known."""
        return self._who(kept.process) if ray.wait([kept.process], timeout=0)[0] else None

    def _note_loss(self, kept: Kept) -> None:
        """A process has ended or is out of reach: which, shows when it answers again."""
        error = self._outcome(kept.call)
        if not isinstance(error, ActorUnavailableError):  # for good: Ray could not start it anew
            if kept.gone(0.0):
                self.drop(kept.name)
                return
            raise self.lost(kept.name, error)
        kept.at_start = kept.busy() and not has_ended(kept.worked)
        kept.lost_at, kept.error, kept.ask = time.monotonic(), error, kept.node.process.remote()

    def _look_for(self, kept: Kept) -> None:
        assert kept.ask is not None and kept.lost_at is not None and kept.error is not None
        lost_s = time.monotonic() - kept.lost_at
        if kept.gone(lost_s):
            self.drop(kept.name)
            return
        if not ray.wait([kept.ask], timeout=0)[0]:
            if lost_s > VERDICT_S:
                raise UserError(
                    f"{kept.name} is out of reach or can't be started anew since {lost_s:.0f} s; go on from the last "
                    f"checkpoint with apex-ray train --resume {shown(self._run)}"
                )
            return
        same = self._who(kept.process) == self._who(kept.ask)
        kept.restarts = restarts(kept.node)
        (kept.call, kept.worked), kept.process = self._calls(kept.node), kept.ask
        kept.lost_at, kept.ask = None, None
        if same:
            self._say(f"{kept.name} was out of reach for {lost_s:.0f} s")
            return
        self.spend_restart(kept.name, kept.error, kept.at_start)
        kept.restored()

    def _look_for_failed_starts(self) -> None:
        """UserError for a part whose processes end while they are made: calls to it neither end nor fail."""
        for kept in self._kept.values():
            lost = kept.ask is not None
            if ray.wait([kept.ask if kept.ask is not None else kept.process], timeout=0)[0]:
                continue
            if restarts(kept.node) - kept.restarts - lost >= FAILED_STARTS:
                raise self._would_be_lost_again(kept.name, "while it was made")

    def _would_be_lost_again(self, name: str, how: str) -> UserError:
        return UserError(
            f"{name} lost its process twice in a row before it had done any work ({how}), so it would again; go on "
            f"with apex-ray train --resume {shown(self._run)} when its cause is gone"
        )

    @staticmethod
    def _who(call: ObjectRef[Process]) -> Process | None:
        """The process that answered; None where it was lost before it could."""
        try:
            return ray.get(call)
        except (RayActorError, ActorUnschedulableError):
            return None

    def _judge(self) -> None:
        """Replace those out of reach whose node turned out to be lost, or that have not answered for too long."""
        waiting, self._out_of_reach = self._out_of_reach, []
        for watched, error, until in waiting:
            if watched.gone().node is None and time.monotonic() < until:
                self._out_of_reach.append((watched, error, until))
            else:
                self._replace(watched, error)

    @staticmethod
    def _outcome(call: ObjectRef[Any]) -> BaseException:
        try:
            ray.get(call)
        except RayError as error:
            return error
        return RuntimeError("its loop ended by itself")

    def _replace(self, watched: Watched, error: BaseException) -> None:
        if isinstance(error, RayTaskError):
            # Around a lost process: this node lives, the shard or holder it talked to does not.
            raise self.lost(f"a node that {watched.name} talks to", error)
        if watched.restart is None:
            raise self.lost(watched.name, error)
        gone = watched.gone()
        if gone.node is not None:
            self._say(f"{watched.name} was lost with its node {gone.node}; it starts again where there is room")
        else:
            self.spend_restart(watched.name, error, gone.at_start)
        self.watch(watched.restart(), watched)

    def lost(self, name: str, error: BaseException) -> UserError:
        """The error of a lost process that ends the run; `name` where Ray's error does not have it."""
        cause = root_cause(error)
        name = self._names.get(getattr(cause, "actor_id", None) or "", name)
        if isinstance(cause, RayActorError) and cause.actor_init_failed:
            return UserError(f"{name} can't be made: {str(cause).strip().splitlines()[-1]}")
        return UserError(
            f"{name} lost its process ({_short(error)}); go on from the last checkpoint with "
            f"apex-ray train --resume {shown(self._run)}"
        )

    def spend_restart(self, name: str, error: BaseException, at_start: bool = False) -> None:
        """Count one lost process against its part's budget. UserError when it is used up, or not worth spending."""
        if at_start and name in self._failed_starts:
            raise self._would_be_lost_again(name, _short(error))
        (self._failed_starts.add if at_start else self._failed_starts.discard)(name)
        part = name.split()[0] if name.startswith(SEVERAL) else name
        self._spent[part] += 1
        if self._spent[part] > self._max_restarts:
            raise UserError(
                f"{name} lost its process ({_short(error)}), and cluster.max_restarts = {self._max_restarts} "
                f"are used up; go on with apex-ray train --resume {shown(self._run)}"
            )
        self._say(f"{name} lost its process, restart {self._spent[part]} of {self._max_restarts}")


def has_ended(call: ObjectRef[Any]) -> bool:
    """Whether a call to a process that is gone had ended before, and well."""
    if not ray.wait([call], timeout=0)[0]:
        return False
    try:
        ray.get(call)
    except RayError:
        return False
    return True


def _short(error: BaseException) -> str:
    text = str(root_cause(error)).strip().splitlines()
    return text[0] if text else type(error).__name__
