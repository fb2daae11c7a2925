"""Which errors end a run and which are answered by a new process, within a budget."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import ObjectRef
from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError

from apex_ray.report.failure import describe
from cluster.ray_private import actor_id
from trainkit.errors import UserError

# Ray sees that a killed node is gone after 15 s, and after 65 s where packets vanish: 5 checks of 10 s, 3 s apart.
VERDICT_S = 120.0


@dataclass
class Watched:
    """A node's endless call, how to start it anew (None: it can't be), and which machine it was lost with."""

    name: str
    restart: Callable[[], ObjectRef[Any]] | None
    lost_node: Callable[[], str | None] = lambda: None


def root_cause(error: BaseException) -> BaseException:
    """What really happened: a task's own exception, or the loss of the process it was talking to."""
    while isinstance(error, RayTaskError) and isinstance(error.cause, BaseException) and error.cause is not error:
        error = error.cause
    return error


def as_user_error(name: str, error: BaseException, run: Path) -> UserError:
    """The one message for an error that ends the run."""
    return describe(name, root_cause(error), run, error)


class Supervisor:
    """Watches the endless calls of all nodes. A mistake in configuration, environment or code ends the run at once;
    only a lost process is replaced, and no more than `max_restarts` times in a run. One that went with its whole node
    is not counted: nodes come and go, crash loops don't take their node along.
    """

    def __init__(self, run: Path, max_restarts: int, say: Callable[[str], None]) -> None:
        self._run, self._max_restarts, self._say = run, max_restarts, say
        self._watched: dict[ObjectRef[Any], Watched] = {}
        self._out_of_reach: list[tuple[Watched, BaseException, float]] = []  # and until when Ray may say why
        self._names: dict[str, str] = {}  # by Ray's id of the actor
        self.restarts = 0

    def know(self, name: str, node: Any) -> Any:
        """Call that node so when it turns out to be what was lost; returns it."""
        self._names[actor_id(node)] = name
        return node

    def watch(self, call: ObjectRef[Any], watched: Watched) -> None:
        self._watched[call] = watched

    def check(self, timeout_s: float) -> None:
        """Wait up to `timeout_s` for a call to end; none should. UserError when the run can't go on."""
        ended, _ = ray.wait(list(self._watched), num_returns=1, timeout=timeout_s)
        failures = [(self._watched.pop(call), self._outcome(call)) for call in ended]
        # A lost shard or learner makes everyone who talks to it fail too: name the one that can't be replaced.
        for watched, error in sorted(failures, key=lambda f: f[0].restart is not None):
            if not isinstance(root_cause(error), RayActorError):
                raise as_user_error(watched.name, error, self._run)
            if isinstance(error, ActorUnavailableError) and watched.restart is not None:
                self._say(f"{watched.name} is out of reach")
                self._out_of_reach.append((watched, error, time.monotonic() + VERDICT_S))
            else:
                self._replace(watched, error)
        self._judge()

    def _judge(self) -> None:
        """Replace those out of reach whose node turned out to be lost, or of which nothing was heard for too long."""
        waiting, self._out_of_reach = self._out_of_reach, []
        for watched, error, until in waiting:
            if watched.lost_node() is None and time.monotonic() < until:
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
        if (node := watched.lost_node()) is not None:
            self._say(f"{watched.name} was lost with its node {node}; it starts again where there is room")
        else:
            self.spend_restart(watched.name, error)
        self.watch(watched.restart(), watched)

    def lost(self, name: str, error: BaseException) -> UserError:
        """The error of a lost process that ends the run; `name` where Ray's error does not have it."""
        name = self._names.get(getattr(root_cause(error), "actor_id", None) or "", name)
        return UserError(
            f"{name} lost its process ({_short(error)}); go on from the last checkpoint with "
            f"apex-ray train --resume {self._run}"
        )

    def spend_restart(self, name: str, error: BaseException) -> None:
        """Count one lost process against the budget. UserError when it is used up."""
        self.restarts += 1
        if self.restarts > self._max_restarts:
            raise UserError(
                f"{name} lost its process ({_short(error)}), and cluster.max_restarts = {self._max_restarts} "
                f"are used up; go on with apex-ray train --resume {self._run}"
            )
        self._say(f"{name} lost its process, restart {self.restarts} of {self._max_restarts}")


def _short(error: BaseException) -> str:
    text = str(root_cause(error)).strip().splitlines()
    return text[0] if text else type(error).__name__
