"""The samples-per-insert limit over all replay shards: one count of inserts and samples, kept by shard 0.

Why it can't deadlock: inserts and samples wait for nothing but this limit, there is one of it, and `Limiter` refuses
settings in which its two sides could wait at once. A limit for each shard would deadlock: chunks are dealt out evenly
and samples follow the shards' mass, so that one shard's drift blocks inserts while another's blocks sampling. Calls of
other shards wait ASK_S at most and are made again: those of a shard that was lost leave shard 0 its threads.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import ray

from apex_ray.replay.limiter import Limiter

ASK_S = 0.5  # that one request of another shard waits, before it is made anew


class OwnLimit:
    """For shard 0, which counts. Thread-safe: its own threads use it, and those of all other shards."""

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        self._changed = threading.Condition()

    def insert(self, transitions: int, wait_s: float | None = None) -> bool:
        """Wait until a chunk of that many transitions may be stored, and count it; False where it may not in time."""
        with self._changed:
            if may := self._changed.wait_for(self.limiter.may_insert, wait_s):
                self.limiter.inserted += transitions
                self._changed.notify_all()
        return may

    def permit(self, total: int, wait_s: float = ASK_S) -> float:
        """Wait up to `wait_s` until samples up to `total` are allowed; returns how many are (inf: any number).

        A total that is allowed counts as drawn: no batch is asked for that is not going to be.
        """
        limiter = self.limiter
        with self._changed:
            self._changed.wait_for(lambda: limiter.samples_allowed >= total, wait_s)
            allowed = limiter.samples_allowed
            if allowed >= total > limiter.sampled:
                limiter.sampled = total
                self._changed.notify_all()
        return allowed

    def may_sample(self, total: int, wait_s: float = ASK_S) -> bool:
        """Whether the batch that brings the run's samples to `total` may be drawn, within `wait_s`."""
        return self.permit(total, wait_s) >= total

    def lost(self, transitions: int, inserted: int, sampled: int) -> None:
        """A shard was lost, and the others hold `transitions`: wait for as many as learning needs.

        Where this process is the one that lost its counts, they go on from `inserted` and `sampled`.
        """
        limiter = self.limiter
        with self._changed:
            limiter.inserted, limiter.sampled = limiter.inserted + inserted, max(limiter.sampled, sampled)
            limiter.wait_again(max(limiter.min_transitions - transitions, 0))
            self._changed.notify_all()

    def start_from(self, inserted: int, sampled: int) -> None:
        """Go on with the counts of a saved replay, within this run's bounds."""
        with self._changed:
            self.limiter.start_from(inserted, sampled)
            self._changed.notify_all()


class LimitElsewhere:
    """For every other shard, which asks shard 0. What is allowed only grows: an answer is good up to its total."""

    def __init__(self, keeper: Callable[[], Any]) -> None:
        """`keeper` gives the handle of the shard that counts."""
        self._keeper = keeper()
        self._allowed = -math.inf

    def insert(self, transitions: int) -> None:
        while not ray.get(self._keeper.admit.remote(transitions, ASK_S)):
            pass

    def may_sample(self, total: int, wait_s: float = ASK_S) -> bool:
        if total > self._allowed:
            self._allowed = ray.get(self._keeper.permit.remote(total, wait_s))
        return total <= self._allowed


Limit = OwnLimit | LimitElsewhere  # what a shard asks before it stores or draws
