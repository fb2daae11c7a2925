"""The learner as a Ray actor: batches asked for ahead, priorities back, weights out, checkpoints on request."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray

from apex_ray.agent.build import build_agent
from apex_ray.config.schema import ApexConfig
from apex_ray.envs.own_code import unpack
from apex_ray.learner.checkpoint import has_checkpoint, load_checkpoint, save_checkpoint, set_aside
from apex_ray.learner.learner import Learner
from apex_ray.nodes.batch_source import BatchSource
from apex_ray.nodes.flow import CallWindow, LatestCall
from apex_ray.nodes.keeping import Keeping
from apex_ray.nodes.living import GROUP, note_work, restarted
from apex_ray.nodes.stall import LEARNER
from apex_ray.process import prepare_process
from apex_ray.replay import shards as sharding
from apex_ray.report.tally import LearnerReport, UpdateMeans
from apex_ray.run_files import LEARNER as SHARE
from apex_ray.run_files import RunPlace
from apex_ray.sizes import Sizes
from apex_ray.talk import REPORT_EVERY_S
from apex_ray.types import AnyArray, Counters, EnvSpec
from trainkit.errors import UserError
from trainkit.run_layout import CONFIG_FILE

LONG_WAIT_S = 30.0  # for a first batch: it is there, others are not


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
        self._updating = threading.Lock()
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

    def run(self, shards: list[Any], weights: Any, metrics_node: Any) -> None:
        """Learn until stopped. Raises whatever an update or a shard raised."""
        if self._learner is None:
            updates = self.prepare(resume=has_checkpoint(self.folder())).updates
            metrics_node.say.remote(f"{LEARNER} goes on from update {updates:,}")
        assert self._learner is not None
        learner, config = self._learner, self._config.learner
        prepare_process(self._sizes.learner_threads)
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        batches = self._source(shards)
        priorities = CallWindow(2 * len(shards))
        reporter = _Reporter(metrics_node)
        self._publish(weights)
        if restarted():  # shards may still work for the learner that was lost, which had the frames
            ray.get([shard.send_all_again.remote() for shard in shards])
        batch, tensors = None, dict[str, Any]()
        while True:
            if batch is None:
                batch = batches.poll()
                if batch is None:
                    reporter.maybe(learner.updates, batches.waited_s)
                    if batches.waited_s > LONG_WAIT_S:
                        note_work()
                    continue
                tensors = learner.to_device(batch)
            with self._updating:
                learner.start_update(tensors)
                # A GPU is at work now: what is ready already goes to it meanwhile.
                following = batches.poll(timeout_s=0.0)
                if following is not None:
                    tensors = learner.to_device(following)
                errors, metrics = learner.finish_update()
            note_work()
            for shard, update in sharding.split(batch.slots, batch.overwrites, errors).items():
                priorities.reserve()
                priorities.add(shards[shard].update_priorities.remote(update))
            if learner.updates % config.publish_every_updates == 0:
                self._publish(weights)
            reporter.means.add(metrics, samples=len(batch.slots))
            reporter.maybe(learner.updates, batches.waited_s)
            batch = following

    def _source(self, shards: list[Any]) -> BatchSource:
        learner = self._learner
        assert learner is not None, "prepare() comes first"
        fields, learned = learner.agent.fields, learner.agent.learned
        if self._config.replay.frames == "replay":
            return BatchSource(shards, self._config, fields, learned, pin=learner.prepare_memory)
        return BatchSource(shards, self._config, fields, learned, learner.write_mirror)

    @ray.method(concurrency_group="control")
    def publish(self, weights: Any) -> None:
        """For a holder that has lost them, between two updates."""
        self._prepared.wait()
        with self._updating:
            self._publish(weights)

    def _publish(self, weights: Any) -> None:
        assert self._learner is not None
        newest = self._learner.weights()
        ray.get(weights.publish.remote(newest.version, newest.params))  # waiting for it bounds the versions alive

    @ray.method(concurrency_group="control")
    def save(self, counters: Counters) -> tuple[Path, int]:
        """Write a checkpoint between two updates; `counters.updates` is filled in here. Returns (folder, updates)."""
        self._prepared.wait()
        assert self._learner is not None
        with self._updating:
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
