"""A replay shard and the limiter of all shards from a run's configuration and its sizes."""

from __future__ import annotations

from apex_ray.config.schema import ApexConfig
from apex_ray.fields import Fields
from apex_ray.replay.limiter import Limiter
from apex_ray.replay.memory import PrioritizedReplay


def build_replay(
    config: ApexConfig, fields: Fields, stride: int, shard: int = 0, restarted_at: int = 0
) -> PrioritizedReplay:
    """One of `replay.shards`, for an agent's fields. `restarted_at`: a time, where it stands for one that was lost."""
    r = config.replay
    capacity, horizon = r.capacity_transitions // r.shards, config.actors.chunk_transitions
    seed = config.seed + shard + restarted_at
    return PrioritizedReplay(fields, capacity, horizon, r.alpha, seed, r.priority_floor, restarted_at, stride)


def build_limiter(config: ApexConfig, chunk_transitions: int, learned: int) -> Limiter:
    """The limiter of a whole run, however many shards it has; from one sample so many transitions are `learned`."""
    r, batch = config.replay, config.learner.batch_size * learned
    tolerance = r.insert_tolerance_transitions
    if tolerance is None:
        per_batch = int(batch / r.samples_per_insert) + 1 if r.samples_per_insert else 0
        tolerance = max(r.min_transitions // 10, 2 * chunk_transitions, 2 * per_batch)
    return Limiter(r.min_transitions, r.samples_per_insert, tolerance, chunk_transitions, batch)
