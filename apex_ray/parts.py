"""Builds what acts from a run's configuration; serial/ and nodes/ put the same parts together."""

from __future__ import annotations

from collections.abc import Callable

from apex_ray.actor.actor import Actor, QFunction
from apex_ray.actor.epsilon import actor_epsilons
from apex_ray.actor.nstep import NStepWindow
from apex_ray.actor.variable_client import VariableClient, Variables, VariableSource
from apex_ray.config.schema import ApexConfig
from apex_ray.envs.base import VectorEnv
from apex_ray.envs.make import make_envs
from apex_ray.learner.hardware import resolve_device
from apex_ray.networks.build import Inference, build_network
from apex_ray.types import EnvSpec


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
    restarts: int = 0,
    around: Callable[[VectorEnv], VectorEnv] = lambda envs: envs,
) -> list[Actor]:
    """The actors of one process, one for each group of its environments, with one Q-function between them.

    `generation` counts how often the run was resumed, `restarts` the actors that were started before this one since,
    0 for the first of its number: no two processes of a run have the same seed. `around` wraps their environments.
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
            around(make_envs(config.env, num_envs, a.threads)),
            q_function,
            window,
            actor_epsilons(index, num_actors, num_envs, a.epsilon_base, a.epsilon_alpha),
            variables,
            seed=(config.seed, generation, restarts),
        )

    return [build(process * a.groups + group) for group in range(a.groups)]
