"""The system's picture as code: starts every node, tells each whom it talks to, and watches until it is time to stop.

Who waits for whom, and the bound of every queue: docs/DESIGN.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import ObjectRef

from apex_ray.config.schema import ApexConfig
from apex_ray.nodes.crew import Crew
from apex_ray.nodes.drain import Drain, notice
from apex_ray.nodes.flow import LatestCall
from apex_ray.nodes.launch import Launcher, Nodes
from apex_ray.nodes.processes import write_stacks
from apex_ray.nodes.replay_stats import ReplayStats, totals
from apex_ray.nodes.stall import INFERENCE, LEARNER, START_S, StallWatch
from apex_ray.nodes.supervise import Supervisor, Watched, as_user_error, root_cause
from apex_ray.nodes.weights_node import fetch
from apex_ray.replay.snapshots import saved_shards, shard_folder
from apex_ray.run_files import RunPlace
from apex_ray.site import Site
from apex_ray.types import AnyArray, Counters, EnvSpec, EvaluationResult, Weights
from cluster.initialised import session
from trainkit.errors import NotWrittenError, UserError, first_line
from trainkit.sending import not_sent
from trainkit.words import Say

MESSAGES_EVERY_S = 1.0
TOLD_AFTER_S = 3.0  # of waiting for what is sent at the end
METRICS = "metrics"


class Program:
    """A running system. `start`, then `watch` and `row` until done, then `save` and leave."""

    def __init__(
        self,
        config: ApexConfig,
        spec: EnvSpec,
        site: Site,
        place: RunPlace,
        say: Say,
        launcher: Callable[..., Launcher] = Launcher,
    ) -> None:
        self._config, self._spec, self._site, self._place, self._run = config, spec, site, place, place.folder
        self._sizes = site.sizes
        self._launcher = launcher
        self._export = LatestCall()
        self._supervisor = Supervisor(place.folder, config.cluster.max_restarts, say)
        self._say = say
        self._evaluation, self._evaluations = LatestCall(), 0  # and how many were asked for
        self._rested_at = 0  # the updates that it had made, once the learner rests
        self._messages, self._messages_at = LatestCall(), 0.0
        self._drain = None if site.here else Drain()
        self._checkpoint_wanted = False
        self._saved_update = 0
        self._snapshots = [LatestCall() for _ in range(config.replay.shards)]  # of each shard
        self._stored: list[int] = []  # transitions of each shard, when the last row was made
        self._counted = (0, 0)  # transitions inserted and sampled in the run, as far as any row had them
        self.counters = Counters()

    def start(self, resume: bool, warm: Mapping[str, AnyArray] | None = None) -> None:
        """Start every node and its loop; the network begins with the parameters `warm`, unless the run is resumed.

        UserError when a node can't be built.
        """
        self._session = session()
        self._launch = launch = self._launcher(self._config, self._spec, self._site, self._place)
        keep, learner = self._supervisor.keep, launch.learner()
        keep(LEARNER, learner)
        self.counters = self._reached = self._prepared(learner.prepare.remote(resume, warm))
        self._stall = StallWatch(self._config.cluster.stall_s, self._run, self.counters.frames, self._stacks)
        if warm:  # a learner that is started anew has it no more, and a checkpoint instead
            ray.get(learner.save.remote(self.counters))
        shards = [
            keep(f"replay-{i}", shard, partial(self._shard_restored, i)) for i, shard in enumerate(launch.shards())
        ]
        workers = [keep(f"learner worker {i}", node) for i, node in enumerate(launch.workers(), 1)]
        weights = keep("the weights node", launch.weights(), self._weights_restored)
        metrics = keep(METRICS, launch.metrics())
        evaluator = keep("the evaluator", launch.evaluator(), busy=lambda: self._evaluation.busy)
        self._nodes = nodes = Nodes(shards, weights, metrics, learner, evaluator, None)
        if resume:
            self._load_replay()
        if self._config.actors.inference == "central":
            forgotten = partial(metrics.forget.remote, INFERENCE)
            nodes.inference = keep(INFERENCE, launch.inference(), forgotten)
        self._supervisor.watch(learner.run.remote(shards, weights, metrics, workers), Watched(LEARNER, None))
        generation = self.counters.generation
        self._crew = Crew(self._config, self._site, launch, nodes, self._supervisor, generation, self._say)

    def _stacks(self) -> str:
        return write_stacks(self._run, self._supervisor.processes | self._crew.fleet.processes)

    def _prepared(self, call: ObjectRef[Any]) -> Any:
        """What the learner answers, which may take long. UserError when it fails, or is lost each time it tries."""
        while not ray.wait([call], timeout=1.0)[0]:
            self._supervisor.check(timeout_s=0.0)
        try:
            return ray.get(call)
        except ray.exceptions.RayTaskError as error:
            raise as_user_error(LEARNER, error, self._run) from None

    def _weights_restored(self) -> None:
        self._nodes.learner.publish.remote(self._nodes.weights)

    def _shard_restored(self, shard: int) -> None:
        """It is empty, or as its last snapshot; where it counts for all, it goes on from the counts of the last row."""
        name, others = f"replay-{shard}", sum(count for i, count in enumerate(self._stored) if i != shard)
        (stats,) = self._get({name: self._nodes.shards[shard].stats.remote()})
        here: int = stats.transitions
        self._nodes.shards[0].lost.remote(others + here, *((0, 0) if shard else self._counted))
        has = f"goes on with the {here:,} transitions of its snapshot" if here else "has lost its transitions"
        self._say(f"{name} {has}; {others:,} are there in other shards")

    def watch(self, timeout_s: float) -> bool:
        """Wait that long for something to go wrong. UserError when the run can't go on. The row tells of limits."""
        self._supervisor.check(timeout_s)
        self._crew.check()
        self._look_at_snapshots()
        self._look_for_notices()
        self._pass_on_messages()
        return False

    def _look_for_notices(self) -> None:
        """Have the actors leave nodes that are about to go, and a checkpoint written where the others are on one."""
        if self._drain is None:
            return
        for node, left_s in self._drain.look().items():
            actors, others = self._crew.fleet.on(node), node in self._launch.nodes()
            if actors or others:
                self._say(notice(self._crew.cluster.address(node), left_s, actors, others))
            self._checkpoint_wanted |= others
        self._crew.leave(self._drain.nodes)  # again with each look: metrics may have been started anew

    def checkpoint_wanted(self) -> bool:
        """Whether one is to be written at once, asked once."""
        wanted, self._checkpoint_wanted = self._checkpoint_wanted, False
        return wanted

    def _pass_on_messages(self) -> None:
        """Pass on what actors and evaluator say, asked for at most once a second."""
        with self._as_user_error():
            messages = self._messages.poll() or ()
        for text in messages:
            self._say(text)
        if not self._messages.busy and time.monotonic() - self._messages_at >= MESSAGES_EVERY_S:
            self._messages_at = time.monotonic()
            self._messages.start(self._nodes.metrics.messages.remote())

    def row(self) -> dict[str, float]:
        """All metrics now."""
        nodes = self._nodes
        shards = {f"replay-{i}": shard.stats.remote() for i, shard in enumerate(nodes.shards)}
        row: dict[str, float]
        stats: list[ReplayStats]
        (row, silent_s), *stats = self._get({METRICS: nodes.metrics.row.remote(self._reached), **shards})
        self._stored = [shard.transitions for shard in stats]
        # A shard that has lost its counts has smaller ones until it is told.
        self._counted = max(self._counted, (stats[0].inserted, stats[0].sampled))
        self._reached = replace(
            self._reached, frames=int(row["frames"]), episodes=int(row["episodes"]), time_s=row["time_s"]
        )
        if self._crew.fleet.running:
            self._crew.end_hung(self._stall.check(row, stats, self._crew.silent_s(silent_s)))
        row["updates"] = max(row["updates"], self._rested_at)  # which was not reported
        row |= totals(stats, self._config.replay.min_transitions) | {
            "replay_bytes": self._sizes.replay_bytes,
            "actors_alive": self._crew.fleet.running,
            "restarts": self._supervisor.restarts,
        }
        return row

    def episode_rows(self) -> list[Any]:
        """The totals of the environment's own reporter so far."""
        rows: list[Any] = self._get({"metrics": self._nodes.metrics.episode_rows.remote()})[0]
        return rows

    def publish(self, row: Mapping[str, float]) -> None:
        """Show the row to Prometheus; one that comes while the last is under way is left out."""
        with self._as_user_error():
            self._export.poll()
        if not self._export.busy:
            self._export.start(self._nodes.metrics.export.remote(dict(row)))

    def start_evaluation(self, counters: Counters, interrupted: Callable[[], bool]) -> None:
        """Ask for an evaluation of the newest weights unless one is under way. Who waits for it looks for Ctrl-C."""
        nodes = self._nodes
        if not self._evaluation.busy:
            self._evaluations += 1
            number = self._evaluations
            self._evaluation.start(nodes.evaluator.evaluate.remote(nodes.weights, nodes.metrics, counters, number))

    def abandon_evaluation(self) -> None:
        """Have the evaluation that is under way end soon: without a result, or with the one that it has already."""
        if self._evaluation.busy:
            self._nodes.evaluator.abandon.remote(self._evaluations)

    def poll_evaluation(self) -> EvaluationResult | None:
        """The result, once, when it is there. UserError when playing failed."""
        self._pass_on_messages()
        try:
            result: EvaluationResult | None = self._evaluation.poll()
        except ray.exceptions.RayError as error:
            raise as_user_error("the evaluator", error, self._run) from None
        return result

    @property
    def evaluating(self) -> bool:
        return self._evaluation.busy

    def weights(self) -> Weights:
        """The newest that the learner has published; the first are there before it learns."""
        while True:
            [reference] = self._get({"the weights node": self._nodes.weights.latest.remote(-1)})
            if (newest := fetch(reference)) is not None:
                return newest
            self._supervisor.check(timeout_s=0.1)

    def rest(self) -> int:
        """Have the learner make no update from now on: how many it has made, of which the newest weights are."""
        [self._rested_at] = self._get({LEARNER: self._nodes.learner.rest.remote(self._nodes.weights)})
        return self._rested_at

    def end_actors(self) -> None:
        """So that what follows has the machine to itself."""
        self._crew.end()

    def let_go(self) -> None:
        """Before its processes are ended: what they have not answered is not asked for again."""
        if session() == self._session:  # else the program has left that Ray
            self._supervisor.let_go()
            self._evaluation.let_go()

    def save(self, counters: Counters) -> tuple[Path, int]:
        """Write a checkpoint between two updates: (folder, updates). With a URI the learner's machine has it."""
        [(path, self._saved_update)] = self._get({LEARNER: self._nodes.learner.save.remote(counters)})
        return self._run / path.parent.name / path.name, self._saved_update

    def send_rest(self) -> None:
        """Have the processes send to the run's URI what is not there yet, and say what could not be."""
        if not self._place.uri:
            return
        names = {LEARNER: self._nodes.learner, "the evaluator": self._nodes.evaluator}
        names |= {f"replay-{i}": shard for i, shard in enumerate(self._nodes.shards)}
        calls = {name: node.send_rest.remote() for name, node in names.items()}
        if ray.wait(list(calls.values()), num_returns=len(calls), timeout=TOLD_AFTER_S)[1]:
            self._say(f"sending the newest files to {self._place.uri}; Ctrl-C ends the waiting")
        for name, call in calls.items():
            try:
                problem = ray.get(call)
            except ray.exceptions.RayError as error:
                problem = first_line(root_cause(error))
            if problem:
                self._say(not_sent(self._place.uri, name, problem))

    def save_replay(self) -> None:
        """Have a snapshot of every shard, as made after the last checkpoint."""
        with self._as_user_error():
            ray.get([shard.save.remote(self._saved_update) for shard in self._nodes.shards])

    def start_snapshot(self) -> None:
        """The same beside all other work. A shard that is still at its last one has its turn at the next checkpoint."""
        for shard, snapshot in zip(self._nodes.shards, self._snapshots, strict=True):
            if not snapshot.busy:
                snapshot.start(shard.save.remote(self._saved_update))

    def _look_at_snapshots(self) -> None:
        """Say which could not be written: the run goes on, and the one before stays."""
        for snapshot in self._snapshots:
            with self._as_user_error():
                try:
                    snapshot.poll()
                except ray.exceptions.RayTaskError as error:
                    if not isinstance(cause := root_cause(error), NotWrittenError):
                        raise
                    self._say(f"{cause}; the run goes on")

    def _load_replay(self) -> None:
        shards, saved = self._nodes.shards, saved_shards(self._run)
        if saved and saved != [shard_folder(self._run, i) for i in range(len(shards))]:
            self._say(f"replay starts empty: {len(saved)} shards were saved, replay.shards is {len(shards)}")
        elif saved:
            with self._as_user_error():
                for i, came in enumerate(ray.get([shard.load.remote() for shard in shards])):
                    self._say(f"replay-{i} {came}")

    def _get(self, calls: Mapping[str, ObjectRef[Any]]) -> list[Any]:
        """Results of calls to nodes, by name. One that does not answer for `cluster.stall_s`, or at its first start for
        START_S, is started anew, and the call with it. UserError when one fails.
        """
        limit_s, since, late = self._config.cluster.stall_s, time.monotonic(), list(calls.values())
        while late:
            _, late = ray.wait(late, num_returns=len(late), timeout=1.0)
            if late:
                self._supervisor.check(timeout_s=0.0)
            waited_s, names = time.monotonic() - since, [name for name, call in calls.items() if call in late]
            limits_s = {n: limit_s if self._supervisor.has_begun(n) else max(limit_s, START_S) for n in names}
            hung = [name for name in names if waited_s > limits_s[name]]
            for name in hung:
                self._supervisor.kill_hung(name, f"{name} has not answered for {limits_s[name]:g} s (cluster.stall_s)")
            if hung:
                self._stall.begin_anew()
                since = time.monotonic()
        with self._as_user_error():
            results: list[Any] = ray.get(list(calls.values()))
            return results

    @contextmanager
    def _as_user_error(self) -> Iterator[None]:
        """A node's failure inside becomes one UserError, the supervisor's own when it knows the reason."""
        try:
            yield
        except ray.exceptions.RayError as error:
            if not isinstance(root_cause(error), UserError):  # which says it all: no other node's end is its reason
                self._supervisor.check(timeout_s=5.0)
            if isinstance(root_cause(error), ray.exceptions.RayActorError):
                raise self._supervisor.lost("a node", error) from None
            raise as_user_error("a node", error, self._run) from None
