"""One actor on emulators: its agent steps a second beside as many bare emulators, each in a process of its own.

    python -m benchmarks.retro_speed

Bare: stable-retro's own environment (`RetroEnv`), or its core alone without any variables, stepped in a loop with
random actions; four frames a step, the last screen made gray and 84 x 84 and stacked, just as for the agent. Beside
the rates stands what a step costs in CPU time, all processes together: on a machine that is busy with other things too
that says more, and where emulators keep all cores busy the ratio of costs is the ratio of rates.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from apex_ray.config.load import load
from apex_ray.envs.make import make_envs
from apex_ray.process import prepare_process
from benchmarks.actor_speed import acting
from benchmarks.machine import ROOT, write
from benchmarks.table import rates, show

PROCESSES = (8, 16, 32)
GAME = "Airstriker-Genesis-v0"  # the one game whose ROM comes with stable-retro
STEPS = 40  # of each process in one piece of work
BARE = Path(__file__).with_name("bare_emulator.py")


class Costed:
    """Work whose CPU time, in this process and others, is added up."""

    def __init__(self, work: Callable[[], int], pids: list[int]) -> None:
        self._work, self._processes = work, [psutil.Process(pid) for pid in (os.getpid(), *pids)]
        self._steps, self._cpu_s = 0, 0.0

    def __call__(self) -> int:
        before = self._now()
        steps = self._work()
        self._cpu_s += self._now() - before
        self._steps += steps
        return steps

    def _now(self) -> float:
        times = [p.cpu_times() for p in self._processes]
        return sum(t.user + t.system for t in times)

    @property
    def ms_per_step(self) -> float:
        return 1000 * self._cpu_s / self._steps


class Bare:
    """k processes that each play STEPS agent steps when told to."""

    def __init__(self, kind: str, count: int) -> None:
        command = [sys.executable, str(BARE), kind, GAME, str(STEPS)]
        self._processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)
        ]
        self()
        self.pids = [process.pid for process in self._processes]

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


def measure(count: int) -> tuple[dict[str, float], dict[str, float]]:
    """(agent steps a second, CPU milliseconds a step) of each contestant with so many emulators."""
    core, retro_env = Bare("core", count), Bare("env", count)
    bare = {p.pid for p in psutil.Process().children()}
    envs, close_envs = environments(count)
    ours = {p.pid for p in psutil.Process().children()} - bare
    actor, close_actor = acting("airstriker", f"actors.envs_per_actor={count}")
    actors = {p.pid for p in psutil.Process().children()} - bare - ours
    work = {
        "bare RetroEnv": Costed(retro_env, retro_env.pids),
        "bare core": Costed(core, core.pids),
        "our environments": Costed(envs, list(ours)),
        "our actor": Costed(actor, list(actors)),
    }
    figures = rates(work, seconds=2.0, rounds=5)
    for close in (core.close, retro_env.close, close_envs, close_actor):
        close()
    return figures, {name: w.ms_per_step for name, w in work.items()}


def main() -> None:
    prepare_process(threads=1)
    figures: dict[str, Any] = {}
    for count in PROCESSES:
        found, costs = measure(count)
        show(f"{count} emulators, {GAME}", "agent steps/s", found, "bare RetroEnv")
        show(f"{count} emulators, {GAME}", "CPU ms a step", costs, "bare RetroEnv")
        figures[f"{count} emulators"] = {
            "agent steps/s": found,
            "CPU ms a step": costs,
            "our actor's steps/s over bare RetroEnv's": found["our actor"] / found["bare RetroEnv"],
            "the same by CPU time": costs["bare RetroEnv"] / costs["our actor"],
            "our actor's steps/s over the bare core's": found["our actor"] / found["bare core"],
            "the same by CPU time, core": costs["bare core"] / costs["our actor"],
            "load average": os.getloadavg()[0],  # more than the processes here: the rates are of a busy machine
        }
    write(ROOT / "results" / "bench" / "retro.json", figures)


if __name__ == "__main__":
    main()
