"""What `auto` in a configuration comes to on a machine, and the bytes that follow from it. Needs no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass

from apex_ray.agent.build import build_agent
from apex_ray.config.schema import ApexConfig
from apex_ray.fields import chunk_bytes, sample_bytes, stored
from apex_ray.replay.room import bytes_needed
from apex_ray.types import EnvSpec
from trainkit.errors import UserError

IN_CHUNK_BYTES = 1 + 8  # of a step beside its fields: whether it is a transition, its first priority
IN_BATCH_BYTES = 4 + 3 * 8  # of a sample beside its fields: importance weight, slot, generation, mass
MAX_LEARNER_THREADS = 8  # of one update; more only wait for each other at the sizes of these networks


@dataclass(frozen=True)
class Sizes:
    """What `auto` came to, and what follows from the configuration by arithmetic."""

    actors: int  # processes, at most
    min_actors: int  # at least
    actor_cpus: int  # of one actor process
    learner_threads: int  # of each of the learner's workers
    inference_cpus: int  # of a process that infers for actors, 0 without
    stride: int  # the agent's: steps from one sample's first to the next's
    learned: int  # the agent's: transitions that a sample is learned from
    chunk_transitions: int  # of one chunk, all streams together
    chunk_bytes: int
    batch_bytes: int
    replay_bytes: int  # of all shards, full


def resolve_sizes(config: ApexConfig, spec: EnvSpec, cores: int | None = None) -> Sizes:
    """Sizes of a run on a machine with `cores` (default: this one's). UserError where settings conflict."""
    cores = cores or len(os.sched_getaffinity(0))
    horizon, n = config.actors.chunk_transitions, config.td.n_step
    envs = config.actors.envs_per_actor // config.actors.groups
    chunk = horizon * envs
    inference_cpus = config.actors.threads if config.actors.inference != "local" else 0
    (min_actors, actors), threads = _share(config, max(cores - inference_cpus, 1), chunk * spec.streams)
    if n > horizon:
        raise UserError(f"td.n_step = {n} is larger than actors.chunk_transitions = {horizon}; expected at most that")
    capacity = config.replay.capacity_transitions // config.replay.shards
    if capacity < 2 * chunk * spec.streams * -(-actors * config.actors.groups // config.replay.shards):
        raise UserError(
            f"replay.capacity_transitions = {config.replay.capacity_transitions} holds less than two chunks of each "
            f"actor ({actors} actors x {config.actors.envs_per_actor} environments x {horizon} steps = "
            f"{actors * config.actors.groups * chunk}); raise it, or lower "
            f"actors.chunk_transitions or actors.envs_per_actor"
        )
    agent = build_agent(config, spec)
    fields, stride = agent.fields, agent.stride
    if horizon % stride:
        raise UserError(f"actors.chunk_transitions = {horizon}: expected a multiple of {stride}, where samples begin")
    return Sizes(
        actors=actors,
        min_actors=min_actors,
        actor_cpus=_actor_cpus(config),
        learner_threads=threads,
        inference_cpus=inference_cpus,
        stride=stride,
        learned=agent.learned,
        chunk_transitions=chunk,
        chunk_bytes=envs * spec.streams * (chunk_bytes(stored(fields), horizon, stride) + horizon * IN_CHUNK_BYTES),
        batch_bytes=config.learner.batch_size * (sample_bytes(stored(fields)) + IN_BATCH_BYTES),
        replay_bytes=config.replay.shards * bytes_needed(fields, capacity, horizon, stride),
    )


def _share(config: ApexConfig, cores: int, chunk_transitions: int) -> tuple[tuple[int, int], int]:
    """((fewest, most) actors, threads of a learner's worker) on so many cores: a quarter to the learner, up to 8 each,
    the rest to act.
    """
    count, wanted, workers = config.actors.range, config.learner.threads, config.learner.workers
    threads = min(max(cores // (4 * workers), 1), MAX_LEARNER_THREADS) if wanted == "auto" else wanted
    if count is None:
        room = config.replay.capacity_transitions // (2 * chunk_transitions * config.actors.groups)
        return (1, max(min((cores - workers * threads) // _actor_cpus(config), room), 1)), threads
    if wanted == "auto":
        threads = min(max((cores - count[1] * _actor_cpus(config)) // workers, 1), MAX_LEARNER_THREADS)
    return count, threads


def _actor_cpus(config: ApexConfig) -> int:
    """Cores that an actor process keeps busy: emulation and inference take turns, or with groups run side by side."""
    overlapped = config.actors.groups > 1 and config.actors.inference == "local"
    return config.actors.threads * (2 if overlapped else 1)
