"""Builds what acts from a run's configuration: serial/ and nodes/ put the same parts together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from apex_ray.agent.contract import Agent
from apex_ray.agent.exploration import actor_epsilons
from apex_ray.agent.policy import Infer
from apex_ray.config.schema import ApexConfig
from apex_ray.envs.base import VectorEnv
from apex_ray.envs.make import make_envs
from apex_ray.experience.actor import Actor
from apex_ray.experience.variables import VariableClient, Variables, VariableSource
from apex_ray.experience.window import ExperienceWindow
from apex_ray.types import EnvSpec

if TYPE_CHECKING:
    from apex_ray.agent.network import Inference


def build_inference(config: ApexConfig, agent: Agent) -> Inference:
    """The network that acts: in each actor on its own cores, or for many of them on its device."""
    from apex_ray.agent.network import Inference  # with torch, which actors that infer centrally do without
    from apex_ray.learner.hardware import resolve_device

    a, device = config.actors, None
    if a.inference != "local":
        device = resolve_device(a.inference_device, "actors.inference_device")
    return Inference(agent, a.bf16, device, seed=config.seed)


def local_inference(
    config: ApexConfig, agent: Agent, source: VariableSource, process: int = 0
) -> tuple[Infer, Variables]:
    """A network in the process of that number for all groups of an actor, and what keeps it up to date."""
    network, every = build_inference(config, agent), config.actors.weights_every_steps * config.actors.groups
    return network, VariableClient(source, every, lambda w: network.load(w.params, (config.seed, w.version, process)))


def build_actors(
    config: ApexConfig,
    spec: EnvSpec,
    agent: Agent,
    process: int,
    num_processes: int,
    inference: tuple[Infer, Variables],
    generation: int = 0,
    restarts: int = 0,
    around: Callable[[VectorEnv], VectorEnv] = lambda envs: envs,
) -> list[Actor]:
    """The actors of one process, one for each group of its environments, with one network between them.

    `generation` counts how often the run was resumed, `restarts` the actors that were started before this one since,
    0 for the first of its number: no two processes of a run have the same seed. `around` wraps their environments.
    """
    a = config.actors
    num_envs, num_actors = a.envs_per_actor // a.groups, num_processes * a.groups
    infer, variables = inference

    def build(index: int) -> Actor:
        envs = around(make_envs(config.env, num_envs, a.threads))
        epsilons = actor_epsilons(index, num_actors, num_envs, a.epsilon_base, a.epsilon_alpha)
        window = ExperienceWindow(
            spec,
            agent.fields,
            agent.outputs,
            agent.priorities,
            envs.num_envs,
            a.chunk_transitions,
            config.td,
            config.env.terminal_on_life_loss,
            agent.stride,
        )
        return Actor(
            index,
            agent,
            envs,
            infer,
            window,
            np.repeat(epsilons, spec.streams),
            variables,
            seed=(config.seed, generation, restarts),
            schedule=a.epsilon_schedule,
            first_sequence=restarts << 32,  # no two processes of one number send chunks of the same number
        )

    return [build(process * a.groups + group) for group in range(a.groups)]
