"""The learner as a Ray actor: batches asked for ahead, priorities back, weights out, checkpoints on request."""

from __future__ import annotations

import threading
import time
import warnings
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import ObjectRef

from apex_ray.config.schema import ApexConfig
from apex_ray.learner.checkpoint import Counters, load_checkpoint, save_checkpoint
from apex_ray.learner.learner import Learner
from apex_ray.nodes.flow import CallWindow, LatestCall
from apex_ray.parts import Sizes
from apex_ray.process import prepare_process
from apex_ray.replay import shards as sharding
from apex_ray.report.tally import LearnerReport, UpdateMeans
from apex_ray.types import Batch, EnvSpec

REPORT_EVERY_S = 1.0
POLL_S = 0.5  # of waiting for a batch, after which metrics are reported all the same


class BatchSource:
    """Batches from all shards, a bounded number asked for ahead of use."""

    def __init__(self, shards: list[Any], config: ApexConfig) -> None:
        self._shards, self._batch_size = shards, config.learner.batch_size
        self._beta, self._ahead = config.replay.beta, config.learner.prefetch_batches
        self._rng = np.random.default_rng(config.seed)
        self._masses = [1.0] * len(shards)
        self._sizes = [0] * len(shards)
        self._asked: deque[tuple[list[float], list[tuple[int, ObjectRef[Any]]]]] = deque()
        self.waited_s = 0.0

    def _ask(self) -> None:
        shares = (np.asarray(self._masses) / sum(self._masses)).tolist()
        counts = sharding.allocate(self._batch_size, self._masses, self._rng)
        fair = self._batch_size // len(self._shards)
        calls = [(i, self._shards[i].sample.remote(int(c), fair)) for i, c in enumerate(counts) if c]
        self._asked.append((shares, calls))

    def poll(self, timeout_s: float = POLL_S) -> Batch | None:
        """The next batch, or None when it has not come within that time."""
        while len(self._asked) < self._ahead:
            self._ask()
        shares, calls = self._asked[0]
        references = [call for _, call in calls]
        started = time.monotonic()
        ready, _ = ray.wait(references, num_returns=len(references), timeout=timeout_s)
        if len(ready) < len(references):
            self.waited_s += time.monotonic() - started
            return None
        self._asked.popleft()
        samples = ray.get(references)
        self.waited_s += time.monotonic() - started
        for (shard, _), sample in zip(calls, samples, strict=True):
            self._masses[shard], self._sizes[shard] = sample.total_mass, sample.size
        drawn = [(i, shares[i], sample) for (i, _), sample in zip(calls, samples, strict=True)]
        return sharding.merge(drawn, max(sum(self._sizes), 1), self._beta)


class LearnerNode:
    """`run` has a thread of its own; `save` (group `control`) works beside it, and after it when it has failed."""

    def __init__(self, config: ApexConfig, spec: EnvSpec, sizes: Sizes, run: Path) -> None:
        self._config, self._spec, self._sizes, self._run_folder = config, spec, sizes, run
        # Held during an update and free while the next batch comes, which leaves a checkpoint its turn.
        self._updating = threading.Lock()
        self._learner: Learner | None = None

    def prepare(self, resume: bool) -> Counters:
        """Build the networks, from the newest checkpoint when resuming."""
        prepare_process(self._sizes.learner_threads)
        self._learner = Learner(self._spec, self._config)
        if not resume:
            return Counters()
        saved = load_checkpoint(self._run_folder)
        self._learner.load_state(saved.online, saved.target, saved.optimizer, saved.counters.updates)
        return saved.counters

    def run(self, shards: list[Any], weights: Any, metrics: Any) -> None:
        """Learn until stopped. Raises whatever an update or a shard raised."""
        assert self._learner is not None, "prepare() comes first"
        learner, config = self._learner, self._config.learner
        prepare_process(self._sizes.learner_threads)
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        batches = BatchSource(shards, self._config)
        priorities = CallWindow(2 * len(shards))
        reporter = _Reporter(metrics, learner.updates)
        self._publish(weights)
        batch, staged = None, []
        while True:
            if batch is None:
                batch = batches.poll()
                if batch is None:
                    reporter.maybe(learner.updates, batches.waited_s)
                    continue
                staged = learner.stage(batch)
            with self._updating:
                learner.start_update(staged)
                # A GPU is at work now: what is ready already goes to it meanwhile.
                following = batches.poll(timeout_s=0.0)
                if following is not None:
                    staged = learner.stage(following)
                errors, stats = learner.finish_update()
            for shard, update in sharding.split(batch.slots, batch.generations, errors).items():
                priorities.reserve()
                priorities.add(shards[shard].update_priorities.remote(update))
            if learner.updates % config.publish_every_updates == 0:
                self._publish(weights)
            reporter.means.add(**vars(stats), samples=len(batch.actions))
            reporter.maybe(learner.updates, batches.waited_s)
            batch = following

    def _publish(self, weights: Any) -> None:
        assert self._learner is not None
        newest = self._learner.weights()
        # Waiting for the holder bounds the versions alive; it takes well under a millisecond.
        ray.get(weights.publish.remote(newest.version, [ray.put(newest.params)]))

    @ray.method(concurrency_group="control")
    def save(self, counters: Counters) -> tuple[Path, int]:
        """Write a checkpoint between two updates; `counters.updates` is filled in here. Returns (folder, updates)."""
        assert self._learner is not None, "prepare() comes first"
        with self._updating:
            mine = replace(counters, updates=self._learner.updates)
            keep = self._config.checkpoint.keep
            return save_checkpoint(self._run_folder, mine, *self._learner.state(), keep), mine.updates


class _Reporter:
    """Sums up updates and reports them about once a second, one report in flight."""

    def __init__(self, metrics: Any, updates: int) -> None:
        self._metrics, self._call = metrics, LatestCall()
        self._updates, self._waited_s, self._at = updates, 0.0, time.monotonic()
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
        self._updates, self._waited_s, self._at, self.means = updates, waited_s, now, UpdateMeans()


GROUPS = {"control": 1}
