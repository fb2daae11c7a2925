"""A learner's other workers as Ray actors, and how the first one brings them together."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import ray
from ray import ObjectRef
from ray.exceptions import RayActorError

from apex_ray.agent.build import build_agent
from apex_ray.config.schema import ApexConfig
from apex_ray.envs.own_code import unpack
from apex_ray.learner.learner import Learner
from apex_ray.learner.team import LostWorkerError, Meeting, Share, Team, come_to, open_meeting
from apex_ray.nodes.flow import ONCE
from apex_ray.nodes.living import Living
from apex_ray.nodes.updates import Updates
from apex_ray.process import prepare_process
from apex_ray.sizes import Sizes
from apex_ray.types import AnyArray, EnvSpec

LOOK_S = 1.0
State = tuple[dict[str, AnyArray], dict[str, AnyArray], dict[str, AnyArray]]  # as `Learner.state` gives it


class WorkerNode(Living):
    """Any worker but the first. It has nothing that the first one can't give it again."""

    def __init__(self, config: ApexConfig, spec: EnvSpec, sizes: Sizes) -> None:
        self._config, self._spec, self._sizes = config, spec, sizes
        self._learner: Learner | None = None

    def learn(self, meeting: Meeting, share: Share, state: State, updates: int, shards: list[Any], total: int) -> None:
        """Learn with the others from the first one's `state` on. Returns when one of them is lost."""
        learner = self._prepared()
        learner.load_state(*state, updates=updates)
        limit_s = team_limit_s(self._config)
        with suppress(LostWorkerError):
            try:
                learner.team = Team(come_to(meeting, share, limit_s), share, learner.device, limit_s)
                mine = Updates(learner, self._config, shards, threading.Lock(), share, total)
                while True:
                    mine.next()
            finally:
                Team.leave()

    def _prepared(self) -> Learner:
        if self._learner is None:
            prepare_process(self._sizes.learner_threads)
            unpack(self._spec.env_id, self._spec.own_code)
            self._learner = Learner(build_agent(self._config, self._spec), self._config)
        return self._learner


class Workers:
    """All but the first, as the first one knows them."""

    def __init__(
        self,
        nodes: Sequence[Any],
        config: ApexConfig,
        learner: Learner,
        say: Callable[[str], object],
        meanwhile: Callable[[], None],
    ) -> None:
        """`meanwhile` is called now and then while they are waited for."""
        self._nodes, self._learner, self._say, self._meanwhile = nodes, learner, say, meanwhile
        self._limit_s = team_limit_s(config)
        self._calls: list[ObjectRef[None]] = []  # `learn` of each

    def gather(self, address: str, shards: list[Any], total: int) -> None:
        """Form a team of all, again and again until they are in it. They begin with this learner's state, and with the
        batch after `total` transitions of samples.

        Raises what a worker raised, but for its loss: Ray starts it anew, and the supervisor counts.
        """
        learner, size = self._learner, 1 + len(self._nodes)
        while True:
            learner.team = None
            Team.leave()  # those who wait for it return
            self._wait_for_ends()
            self._wait_for(node.process.remote() for node in self._nodes)
            meeting, store = open_meeting(address, size, self._limit_s)
            state = ray.put(learner.state())  # once for all
            self._calls = [
                node.learn.options(**ONCE).remote(meeting, Share(1 + i, size), state, learner.updates, shards, total)
                for i, node in enumerate(self._nodes)
            ]
            try:
                learner.team = Team(store, Share(0, size), learner.device, self._limit_s)
            except LostWorkerError:
                continue
            return

    def _wait_for_ends(self) -> None:
        """Of what the workers did in the last team. Those who don't notice its end hang."""
        until = time.monotonic() + 2 * self._limit_s
        for call in self._wait_for(self._calls, until):
            worker = self._calls.index(call)
            self._say(f"learner worker {1 + worker} does not answer; its process is ended")
            ray.kill(self._nodes[worker], no_restart=False)
        for call in self._calls:
            with suppress(RayActorError):
                ray.get(call)

    def _wait_for(self, calls: Iterable[ObjectRef[Any]], until: float = math.inf) -> list[ObjectRef[Any]]:
        """Those that have not ended until then."""
        late = list(calls)
        while late and time.monotonic() < until:
            _, late = ray.wait(late, num_returns=len(late), timeout=LOOK_S)
            self._meanwhile()
        return late


def team_limit_s(config: ApexConfig) -> float:
    """How long workers wait for each other: well below the time after which the learner itself is thought to hang."""
    return config.cluster.stall_s / 4
