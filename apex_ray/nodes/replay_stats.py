"""What replay shards say of themselves, and the metrics of all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

INSERT, SAMPLE = "an insert", "a sample"  # what waits for the limit


@dataclass(frozen=True)
class ReplayStats:
    """What a shard holds and has done."""

    transitions: int
    capacity: int
    inserted: int  # in the whole run, 0 from a shard that does not count
    sampled: int  # likewise
    stale_updates: int
    waits_s: dict[str, float]  # by what waits here for the samples-per-insert limit: for how long it has


def totals(stats: Sequence[ReplayStats], min_transitions: int) -> dict[str, float]:
    """The metrics of all shards together."""
    transitions, sampled = sum(s.transitions for s in stats), sum(s.sampled for s in stats)
    inserted = sum(s.inserted for s in stats)
    return {
        "replay_transitions": transitions,
        "replay_fill": transitions / sum(s.capacity for s in stats),
        "replay_ratio": sampled / max(inserted - min_transitions, 1) if sampled else 0.0,
        "stale_priorities": sum(s.stale_updates for s in stats),
    }
