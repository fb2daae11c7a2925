"""One actor on emulators: its agent steps a second beside as many bare emulators, each in a process of its own.

    python -m benchmarks.retro_speed

Bare: stable-retro's own environment (`RetroEnv`), or its core alone without any variables, stepped in a loop with
random actions; four frames a step, the last screen made gray and 84 x 84 and stacked, just as for the agent.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from apex_ray.config.load import load
from apex_ray.envs.make import make_envs
from apex_ray.parts import build_actors, local_inference
from apex_ray.process import prepare_process
from benchmarks.actor_speed import NoWeights
from benchmarks.machine import ROOT, write
from benchmarks.table import rates, show

PROCESSES = (2, 4, 8)
GAME = "Airstriker-Genesis-v0"  # the one game whose ROM comes with stable-retro
STEPS = 40  # of each process in one piece of work
BARE = Path(__file__).with_name("bare_emulator.py")


class Bare:
    """k processes that each play STEPS agent steps when told to."""

    def __init__(self, kind: str, count: int) -> None:
        command = [sys.executable, str(BARE), kind, GAME, str(STEPS)]
        self._processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)
        ]
        self()

    def __call__(self) -> int:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in self._processes:
            assert process.stdout is not None
            process.stdout.readline()
        return STEPS * len(self._processes)

    def close(self) -> None:
        for process in self._processes:
            process.communicate()


def actor_loop(count: int) -> tuple[Callable[[], int], Callable[[], None]]:
    """(work, close): the loop of nodes/actor_node.py with the airstriker preset, chunks made and dropped."""
    config = load("airstriker", [f"actors.envs_per_actor={count}"]).config
    envs = make_envs(config.env, 1)
    actors = build_actors(config, envs.spec, 0, 1, local_inference(config, envs.spec, NoWeights()))
    envs.close()
    for actor in actors:
        actor.start_step()

    def step() -> int:
        for actor in actors:
            actor.finish_step()
            actor.start_step()
        return count

    def close() -> None:
        for actor in actors:
            actor.finish_step()
            actor.close()

    return step, close


def environments(count: int) -> tuple[Callable[[], int], Callable[[], None]]:
    """(work, close): our vector environment alone, random actions."""
    envs = make_envs(load("airstriker").config.env, count)
    rng = np.random.default_rng(0)
    envs.reset(0)

    def step() -> int:
        envs.send(rng.integers(envs.spec.num_actions, size=count))
        envs.recv()
        return count

    return step, envs.close


def measure(count: int) -> dict[str, float]:
    core, retro_env = Bare("core", count), Bare("env", count)
    envs, close_envs = environments(count)
    actor, close_actor = actor_loop(count)
    figures = rates(
        {"bare RetroEnv": retro_env, "bare core": core, "our environments": envs, "our actor": actor}, seconds=2.5
    )
    for close in (core.close, retro_env.close, close_envs, close_actor):
        close()
    return figures


def main() -> None:
    prepare_process(threads=1)
    figures: dict[str, Any] = {}
    for count in PROCESSES:
        figures[f"{count} processes"] = found = measure(count)
        show(f"{count} emulators, {GAME}", "agent steps/s", found, "bare RetroEnv")
    figures["actor / bare RetroEnv"] = {k: v["our actor"] / v["bare RetroEnv"] for k, v in figures.items()}
    figures["actor / bare core"] = {
        k: v["our actor"] / v["bare core"] for k, v in figures.items() if k.endswith("processes")
    }
    write(ROOT / "results" / "bench" / "retro.json", figures)


if __name__ == "__main__":
    main()
