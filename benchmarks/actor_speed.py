"""One actor process: its agent steps a second beside the bare emulator, bare inference and other ways to step Pong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from apex_ray.agent.build import build_agent
from apex_ray.agent.network import Inference
from apex_ray.config.load import load
from apex_ray.envs.make import make_envs
from apex_ray.parts import build_actors, local_inference
from apex_ray.process import prepare_process
from apex_ray.types import Weights
from benchmarks.machine import ROOT, write
from benchmarks.peer import ask, figures_and_reasons
from benchmarks.table import rates, show

ENVS = 32


class NoWeights:
    def request(self, newer_than: int) -> None: ...
    def poll(self) -> Weights | None:
        return None


def acting(preset: str, *settings: str) -> tuple[Callable[[], int], Callable[[], None]]:
    """(work, close): the loop of nodes/actor_node.py, chunks made and dropped; one round over all environments a call,
    which gives their steps.
    """
    config = load(preset, settings).config
    envs = make_envs(config.env, 1)
    agent = build_agent(config, envs.spec)
    actors = build_actors(config, envs.spec, agent, 0, 1, local_inference(config, agent, NoWeights()))
    envs.close()
    for actor in actors:
        actor.start_step()

    def step() -> int:
        for actor in actors:
            actor.finish_step()
            actor.start_step()
        return config.actors.envs_per_actor

    def close() -> None:
        for actor in actors:
            actor.finish_step()
            actor.close()

    return step, close


def actor_loop(groups: int) -> Callable[[], int]:
    return acting("atari", f"actors.envs_per_actor={ENVS}", f"actors.groups={groups}")[0]


def main() -> None:
    """The Nature network (3.29 M parameters) on Pong, 32 environments."""
    prepare_process(threads=1)
    config = load("atari").config
    envs = make_envs(config.env, ENVS)
    rng = np.random.default_rng(0)
    observations = envs.reset(0)
    agent = build_agent(config, envs.spec)
    inference, as_configured = Inference(agent, seed=0), Inference(agent, config.actors.bf16, seed=0)

    def emulator() -> int:
        envs.send(rng.integers(envs.spec.num_actions, size=ENVS))
        envs.recv()
        return ENVS

    def bare_inference() -> int:
        inference(observations, {})
        return ENVS

    def bare_inference_as_configured() -> int:
        as_configured(observations, {})
        return ENVS

    figures = rates(
        {
            "emulator alone": emulator,
            "inference alone, float32": bare_inference,
            "inference alone, as the preset has it": bare_inference_as_configured,
            "actor, in turn on one core": actor_loop(groups=1),
            "actor, two groups overlapped on two cores": actor_loop(groups=2),
        }
    )
    for name in ("float32", "as the preset has it"):
        limit = f"emulator and inference in turn, {name}"
        figures[limit] = 1 / (1 / figures["emulator alone"] + 1 / figures[f"inference alone, {name}"])
    peers, reasons = figures_and_reasons(ask("actors"))
    show("actor process", "agent steps/s", figures | peers, limit)
    for name, reason in reasons.items():
        print(f"{name}: {reason}")
    write(
        ROOT / "results" / "bench" / "actor.json",
        {"agent_steps_per_s": figures, "peers_agent_steps_per_s": peers, "peers_not_measured": reasons},
    )


if __name__ == "__main__":
    main()
