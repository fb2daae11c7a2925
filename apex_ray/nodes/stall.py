"""Finds parts that hang, and ends a run that stands still: no queue of the system may hang it in silence."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from apex_ray.nodes.replay_stats import INSERT, SAMPLE, ReplayStats
from trainkit.errors import UserError
from trainkit.storage import shown

LONGEST_LOOK_S = 30.0  # between two looks: what is more was the driver's own absence (Ctrl-Z), and counts for nothing
START_S = 300.0  # that a process started anew may take until it first reports, environments made and all
LEARNER, INFERENCE = "the learner", "the inference node"  # the one for all actors


class StallWatch:
    """Looks at a run's counts now and then. None of them moving for `limit_s` is a stall; a part that does not report
    for so long hangs, unless it may be waiting for another one.

    A slow start is none: environments may take long to be made and to begin, and envs/watchdog.py names who does. It is
    over when there are more `frames` than the run began with, or an insert waits. What is started anew later has
    START_S.
    """

    def __init__(
        self, limit_s: float, run: Path, frames: int = 0, stacks: Callable[[], str] = lambda: "no stacks"
    ) -> None:
        """`stacks` writes what every process is doing into the run folder, and says where."""
        self._limit_s, self._run, self._frames, self._stacks = limit_s, run, frames, stacks
        self._counts: tuple[float, ...] = ()
        self._looked_at: float | None = None
        self._idle_s = 0.0
        self._since = -math.inf  # from when on silence counts

    def check(
        self, row: Mapping[str, float], shards: Sequence[ReplayStats], silent_s: Mapping[str, float]
    ) -> dict[str, str]:
        """What hangs, and what to say of it. UserError for a stall in which nothing does.

        Args:
            row: of metrics.
            shards: what each replay shard says of itself.
            silent_s: by part, the seconds since its last report; inf where none has come.

        """
        now = time.monotonic()
        counts = (row["frames"], row["updates"], *(n for s in shards for n in (s.inserted, s.sampled)))
        passed = 0.0 if self._looked_at is None else min(now - self._looked_at, LONGEST_LOOK_S)
        self._looked_at = now
        starting = row["frames"] == self._frames and not any(INSERT in s.waits_s for s in shards)
        self._idle_s = self._idle_s + passed if counts == self._counts and not starting else 0.0
        self._counts = counts
        waiting = any(INSERT in s.waits_s for s in shards)  # actors, which then do not report
        hung = {
            part: f"{part} has not reported for {s:.0f} s (cluster.stall_s = {self._limit_s:g})"
            for part, s in silent_s.items()
            if self._limit_s < min(s, now - self._since)
            and s < math.inf
            and passed < LONGEST_LOOK_S
            and (part == LEARNER or not waiting)
        }
        begins = math.inf in silent_s.values() and not waiting
        limit_s = max(self._limit_s, START_S) if begins else self._limit_s
        if self._idle_s > limit_s and not hung:
            raise self._error(f"nothing has moved for {self._idle_s:.0f} s", shards, silent_s)
        if hung:
            self.begin_anew()
        return hung

    def begin_anew(self) -> None:
        """A part that hung is replaced: others may have waited for it, and what comes in its place must start."""
        self._idle_s, self._since = 0.0, time.monotonic()

    def _error(self, what: str, shards: Sequence[ReplayStats], silent_s: Mapping[str, float]) -> UserError:
        waits = [
            f"at replay-{i} {who} has waited {waited_s:.0f} s for the samples-per-insert limit"
            f"{' or replay.min_transitions' if who == SAMPLE else ''}"
            for i, shard in enumerate(shards)
            for who, waited_s in shard.waits_s.items()
            if waited_s > 1.0
        ]
        silent = [
            f"{who} has not reported {'yet' if math.isinf(s) else f'for {s:.0f} s'}"
            for who, s in silent_s.items()
            if s > self._limit_s / 2
        ]
        inserted, sampled = sum(s.inserted for s in shards), sum(s.sampled for s in shards)
        state = f"{inserted:,} transitions inserted and {sampled:,} sampled"
        return UserError(
            f"{what} (cluster.stall_s = {self._limit_s:g}): {'; '.join([state, *waits, *silent])}; "
            f"{self._stacks()}; go on from the last checkpoint with apex-ray train --resume {shown(self._run)}"
        )
