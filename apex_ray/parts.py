"""Builds the parts of a run from its configuration; serial.py and nodes/ put the same parts together."""

from __future__ import annotations

import os
from dataclasses import dataclass

from apex_ray.actor.actor import Actor, QFunction
from apex_ray.actor.epsilon import actor_epsilons
from apex_ray.actor.nstep import NStepWindow
from apex_ray.actor.variable_client import VariableClient, Variables, VariableSource
from apex_ray.config.schema import ApexConfig
from apex_ray.envs.make import make_envs
from apex_ray.learner.hardware import resolve_device
from apex_ray.networks.build import Inference, build_network
from apex_ray.replay.limiter import Limiter
from apex_ray.replay.memory import PrioritizedReplay
from apex_ray.types import EnvSpec
from cluster.errors import UserError

MAX_LEARNER_THREADS = 8  # of one update; more only wait for each other at the sizes of these networks


@dataclass(frozen=True)
class Sizes:
    """What `auto` came to, and what follows from the configuration by arithmetic."""

    actors: int  # processes, at most
    min_actors: int  # at least
    actor_cpus: int  # of one actor process
    learner_threads: int
    inference_cpus: int  # of central inference, 0 without
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
    inference_cpus = config.actors.threads if config.actors.inference == "central" else 0
    (min_actors, actors), threads = _share(config, max(cores - inference_cpus, 1), chunk)
    if n > horizon:
        raise UserError(f"td.n_step = {n} is larger than actors.chunk_transitions = {horizon}; expected at most that")
    capacity = config.replay.capacity_transitions // config.replay.shards
    if capacity < 2 * chunk * -(-actors * config.actors.groups // config.replay.shards):
        raise UserError(
            f"replay.capacity_transitions = {config.replay.capacity_transitions} holds less than two chunks of each "
            f"actor ({actors} actors x {config.actors.envs_per_actor} environments x {horizon} steps = "
            f"{actors * config.actors.groups * chunk}); raise it, or lower "
            f"actors.chunk_transitions or actors.envs_per_actor"
        )
    frames = (horizon + spec.stack - 1 + n) * envs * spec.frame_bytes
    sample = (spec.stack + n) * spec.frame_bytes + 42
    return Sizes(
        actors=actors,
        min_actors=min_actors,
        actor_cpus=_actor_cpus(config),
        learner_threads=threads,
        inference_cpus=inference_cpus,
        chunk_transitions=chunk,
        chunk_bytes=frames + chunk * 26,
        batch_bytes=config.learner.batch_size * sample,
        replay_bytes=config.replay.shards * PrioritizedReplay.bytes_needed(spec, capacity, horizon, n),
    )


def _share(config: ApexConfig, cores: int, chunk_transitions: int) -> tuple[tuple[int, int], int]:
    """((fewest, most) actors, learner threads) on so many cores: a quarter to the learner, up to 8, the rest to act."""
    count, wanted = config.actors.range, config.learner.threads
    threads = min(max(cores // 4, 1), MAX_LEARNER_THREADS) if wanted == "auto" else wanted
    if count is None:
        room = config.replay.capacity_transitions // (2 * chunk_transitions * config.actors.groups)
        return (1, max(min((cores - threads) // _actor_cpus(config), room), 1)), threads
    if wanted == "auto":
        threads = min(max(cores - count[1] * _actor_cpus(config), 1), MAX_LEARNER_THREADS)
    return count, threads


def _actor_cpus(config: ApexConfig) -> int:
    """Cores that an actor process keeps busy: emulation and inference take turns, or with groups run side by side."""
    overlapped = config.actors.groups > 1 and config.actors.inference == "local"
    return config.actors.threads * (2 if overlapped else 1)


def build_inference(config: ApexConfig, spec: EnvSpec) -> Inference:
    """The network that acts: in each actor on its own cores, or central on its device."""
    a, device = config.actors, None
    if a.inference == "central":
        device = resolve_device(a.inference_device, "actors.inference_device")
    return Inference(build_network(spec, config.network, seed=config.seed), a.bf16, device)


def local_inference(config: ApexConfig, spec: EnvSpec, source: VariableSource) -> tuple[QFunction, Variables]:
    """A Q-function in this process for all groups of an actor, and what keeps it up to date."""
    network, every = build_inference(config, spec), config.actors.weights_every_steps * config.actors.groups
    return network, VariableClient(source, every, lambda w: network.load(w.params))


def build_actors(
    config: ApexConfig,
    spec: EnvSpec,
    process: int,
    num_processes: int,
    inference: tuple[QFunction, Variables],
    generation: int = 0,
) -> list[Actor]:
    """The actors of one process, one for each group of its environments, with one Q-function between them.

    `generation` counts resumptions and restarts, so that seeds are not replayed.
    """
    a = config.actors
    num_envs, num_actors = a.envs_per_actor // a.groups, num_processes * a.groups
    q_function, variables = inference

    def build(index: int) -> Actor:
        window = NStepWindow(
            spec,
            num_envs,
            a.chunk_transitions,
            config.td.n_step,
            config.td.discount,
            config.td.reward_clip,
            config.env.terminal_on_life_loss,
        )
        return Actor(
            index,
            make_envs(config.env, num_envs, a.threads),
            q_function,
            window,
            actor_epsilons(index, num_actors, num_envs, a.epsilon_base, a.epsilon_alpha),
            variables,
            seed=config.seed + 1_000_003 * generation,
        )

    return [build(process * a.groups + group) for group in range(a.groups)]


def build_replay(config: ApexConfig, spec: EnvSpec, shard: int = 0) -> PrioritizedReplay:
    r = config.replay
    return PrioritizedReplay(
        spec,
        r.capacity_transitions // r.shards,
        config.actors.chunk_transitions,
        config.td.n_step,
        r.alpha,
        seed=config.seed + shard,
    )


def build_limiter(config: ApexConfig, sizes: Sizes) -> Limiter:
    """The limiter of one shard: its share of the minimum, the tolerance and the batch."""
    r, shards = config.replay, config.replay.shards
    batch = config.learner.batch_size
    tolerance = r.insert_tolerance_transitions
    if tolerance is None:
        per_batch = int(batch / r.samples_per_insert) + 1 if r.samples_per_insert else 0
        tolerance = max(r.min_transitions // 10, 2 * sizes.chunk_transitions, 2 * per_batch)
    return Limiter(max(r.min_transitions // shards, 1), r.samples_per_insert, tolerance, sizes.chunk_transitions, batch)
