"""A learner's updates, one after the other: batches asked for ahead, new priorities sent back."""

from __future__ import annotations

import threading
import warnings
from typing import Any

from apex_ray.config.schema import ApexConfig
from apex_ray.learner.learner import Learner
from apex_ray.learner.team import ALONE, Share
from apex_ray.nodes.batch_source import BatchSource
from apex_ray.nodes.flow import CallWindow
from apex_ray.nodes.living import note_work
from apex_ray.replay import shards as sharding
from apex_ray.types import Batch

LONG_WAIT_S = 30.0  # for a first batch: it is there, others are not


class Updates:
    """Of one learner, or of one of its workers, whose `share` of each batch it asks of replay."""

    def __init__(
        self,
        learner: Learner,
        config: ApexConfig,
        shards: list[Any],
        updating: threading.Lock,
        share: Share = ALONE,
        total: int | None = None,
    ) -> None:
        """`updating` is held during an update and free while the next batch comes; `share`, `total`: `BatchSource`."""
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        self._learner, self._shards, self._updating = learner, shards, updating
        self._batches = _source(learner, config, shards, share, total)
        self._priorities = CallWindow(2 * len(shards))
        self._batch: Batch | None = None  # the next one, if it is here
        self._tensors: dict[str, Any] = {}  # on its way to the device

    @property
    def waited_s(self) -> float:
        """Seconds without a batch, so far."""
        return self._batches.waited_s

    @property
    def total(self) -> int:
        """Transitions of the samples of all batches before the next update's."""
        return self._batches.total

    def next(self) -> tuple[dict[str, float], int] | None:
        """One update: its metrics, and its samples here; None where no batch has come in POLL_S.

        Raises whatever the update or a shard raised. After LostWorkerError the same update can be made again.
        """
        if self._batch is None:
            self._take(self._batches.poll())
        if self._batch is None:
            if self.waited_s > LONG_WAIT_S:
                note_work()
            return None
        learner, batch = self._learner, self._batch
        with self._updating:
            learner.start_update(self._tensors)
            # A GPU is at work now: what is ready already goes to it meanwhile.
            self._take(self._batches.poll(timeout_s=0.0))
            errors, metrics = learner.finish_update()
        note_work()
        for shard, update in sharding.split(batch.slots, batch.overwrites, errors).items():
            self._priorities.reserve()
            self._priorities.add(self._shards[shard].update_priorities.remote(update))
        return metrics, len(batch.slots)

    def _take(self, batch: Batch | None) -> None:
        self._batch = batch
        if batch is not None:
            self._tensors = self._learner.to_device(batch)


def _source(learner: Learner, config: ApexConfig, shards: list[Any], share: Share, total: int | None) -> BatchSource:
    fields, learned = learner.agent.fields, learner.agent.learned
    if config.replay.frames == "replay":
        pin = learner.prepare_memory
        return BatchSource(shards, config, fields, learned, pin=pin, share=share, total=total)
    return BatchSource(shards, config, fields, learned, learner.write_mirror, share=share, total=total)
