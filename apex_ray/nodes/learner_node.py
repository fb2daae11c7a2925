"""The learner as a Ray actor: batches asked for ahead, priorities back, weights out, checkpoints on request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray

from apex_ray.agent.build import build_agent
from apex_ray.config.schema import ApexConfig
from apex_ray.envs.own_code import unpack
from apex_ray.learner.checkpoint import has_checkpoint, load_checkpoint, save_checkpoint, set_aside
from apex_ray.learner.learner import Learner
from apex_ray.learner.team import LostWorkerError, Share
from apex_ray.nodes.flow import LatestCall
from apex_ray.nodes.keeping import Keeping
from apex_ray.nodes.living import GROUP, restarted
from apex_ray.nodes.stall import LEARNER
from apex_ray.nodes.updates import Updates
from apex_ray.nodes.worker_node import Workers
from apex_ray.process import prepare_process
from apex_ray.report.tally import LearnerReport, UpdateMeans
from apex_ray.run_files import LEARNER as SHARE
from apex_ray.run_files import RunPlace
from apex_ray.sizes import Sizes
from apex_ray.talk import REPORT_EVERY_S
from apex_ray.types import AnyArray, Counters, EnvSpec
from trainkit.errors import UserError
from trainkit.run_layout import CONFIG_FILE
from trainkit.tensor_files import NotFiniteError


class LearnerNode(Keeping):
    """`run` has a thread of its own; `save` (group `control`) works beside it, and after it when it has failed.

    After a restart Ray calls `run` again, which goes on from the newest checkpoint. Actors go on meanwhile with weights
    that may be newer: they and the holder take no older version.
    """

    def __init__(
        self, config: ApexConfig, spec: EnvSpec, sizes: Sizes, place: RunPlace, metrics: Callable[[], Any] | None = None
    ) -> None:
        self._config, self._spec, self._sizes = config, spec, sizes
        self.keep(place, SHARE, metrics)
        self._prepared = threading.Event()
        # Held during an update and free while the next batch comes, which leaves a checkpoint its turn.
        self._updating, self._rests = threading.Lock(), False
        self._learner: Learner | None = None

    def prepare(self, resume: bool, warm: Mapping[str, AnyArray] | None = None) -> Counters:
        """Build the networks, from the newest checkpoint when resuming, else with the parameters `warm`.

        UserError when the run folder isn't here.
        """
        run = self.folder()
        if not (run / CONFIG_FILE).is_file():
            raise UserError(
                f"the run folder {run} can't be seen on {_address()}, where the learner runs; expected runs_dir (or "
                "APEX_RUNS_DIR) on storage that all nodes share, or a URI such as s3://BUCKET/runs, or "
                "cluster.learner_labels that keep the learner where the run was started"
            )
        prepare_process(self._sizes.learner_threads)
        unpack(self._spec.env_id, self._spec.own_code)
        self._learner = Learner(build_agent(self._config, self._spec), self._config)
        if self._config.replay.frames == "learner":
            self._learner.mirror_replay()
        counters = Counters()
        if resume:
            saved = load_checkpoint(run)
            set_aside(saved)  # which the driver did in its own folder, where this is another one
            self._learner.load_state(saved.online, saved.target, saved.optimizer, saved.counters.updates)
            counters = saved.counters
        elif warm:
            self._learner.warm_start(warm)
        self._prepared.set()
        return counters

    def run(self, shards: list[Any], weights: Any, metrics_node: Any, workers: Sequence[Any] = ()) -> None:
        """Learn until stopped, with the other `workers`. Raises whatever an update, a shard or a worker raised."""
        if self._learner is None:
            reached = self.prepare(resume=has_checkpoint(self.folder())).updates
            metrics_node.say.remote(f"{LEARNER} goes on from update {reached:,}")
        assert self._learner is not None
        learner, config = self._learner, self._config
        prepare_process(self._sizes.learner_threads)
        updates = Updates(learner, config, shards, self._updating, Share(0, 1 + len(workers)))
        reporter = _Reporter(metrics_node)
        self._publish(weights)
        if restarted():  # shards may still work for the learner that was lost, which had the frames
            ray.get([shard.send_all_again.remote() for shard in shards])

        def report() -> None:
            reporter.maybe(learner.updates, updates.waited_s)

        team = Workers(workers, config, learner, metrics_node.say.remote, report) if workers else None
        if team is not None:
            team.gather(_address(), shards, updates.total)
        while True:
            try:
                done = updates.next()
            except LostWorkerError:
                assert team is not None, "there is none to lose"
                team.gather(_address(), shards, updates.total)
                continue
            if done is not None:
                reporter.means.add(done[0], samples=done[1] * (1 + len(workers)))
                if learner.updates % config.learner.publish_every_updates == 0:
                    self._publish(weights)
            report()

    @ray.method(concurrency_group="control")
    def publish(self, weights: Any) -> None:
        """For a holder that has lost them, between two updates."""
        self._prepared.wait()
        with self._between_updates():
            self._publish(weights)

    @ray.method(concurrency_group="control")
    def rest(self, weights: Any) -> int:
        """Make no update from now on, and publish the weights that the last one has left. Returns how many there were.

        Again after a restart, which forgets it.
        """
        self._prepared.wait()
        assert self._learner is not None
        if not self._rests:
            self._updating.acquire()  # for good
            self._rests = True
        # Where the holder is lost, or learning has diverged, as saving tells: the newest are those published last.
        with suppress(ray.exceptions.RayError, NotFiniteError):
            self._publish(weights)
        return self._learner.updates

    def _between_updates(self) -> AbstractContextManager[object]:
        return nullcontext() if self._rests else self._updating

    def _publish(self, weights: Any) -> None:
        assert self._learner is not None
        newest = self._learner.weights()
        ray.get(weights.publish.remote(newest.version, newest.params))  # waiting for it bounds the versions alive

    @ray.method(concurrency_group="control")
    def save(self, counters: Counters) -> tuple[Path, int]:
        """Write a checkpoint between two updates; `counters.updates` is filled in here. Returns (folder, updates)."""
        self._prepared.wait()
        assert self._learner is not None
        with self._between_updates():
            mine = replace(counters, updates=self._learner.updates)
            keep = self._config.checkpoint.keep
            return save_checkpoint(self.folder(), mine, *self._learner.state(), keep), mine.updates


class _Reporter:
    """Sums up updates and reports them about once a second, one report in flight."""

    def __init__(self, metrics: Any) -> None:
        self._metrics, self._call = metrics, LatestCall(may_be_lost=True)
        self._waited_s, self._at = 0.0, time.monotonic()
        self.means = UpdateMeans()

    def maybe(self, updates: int, waited_s: float) -> None:
        now = time.monotonic()
        if now - self._at < REPORT_EVERY_S:
            return
        self._call.poll()
        if self._call.busy:
            return
        report = LearnerReport(updates, waited_s - self._waited_s, now - self._at, self.means)
        self._call.start(self._metrics.learner.remote(report))
        self._waited_s, self._at, self.means = waited_s, now, UpdateMeans()


GROUPS = {"control": 1, **GROUP}


def _address() -> str:
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
