"""Samples a second that a learner takes with one worker and with two, a core each, on fixed batches.

    python -m benchmarks.learner_workers [--rounds 3]

Beside them one worker with both cores, and as the most that two can do, two that share nothing and wait for nobody,
each with half of the batch. Rounds are in turns: one, two, two that share nothing, both cores, one, ...
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from dataclasses import replace
from statistics import median
from typing import Any

import torch

from apex_ray.agent.build import build_agent
from apex_ray.config.load import load
from apex_ray.learner.learner import Learner
from apex_ray.learner.team import Meeting, Share, Team, come_to, open_meeting
from apex_ray.process import keep_freed_memory
from benchmarks.learner_speed import SPEC, fixed_batch
from benchmarks.machine import ROOT, write
from benchmarks.table import show

PRESETS = {"pong": [], "pong, batch 512": ["learner.batch_size=512"]}
WAYS = {  # workers, threads of each, whether they share a learner
    "one worker": (1, 1, False),
    "two workers": (2, 1, True),
    "two that share nothing": (2, 1, False),
    "one worker, two threads": (1, 2, False),
}
WARM_UP, SECONDS, LIMIT_S, ASKED_EVERY = 3, 20.0, 60.0, 10


def updates_of(
    overrides: list[str], threads: int, share: Share, together: bool, meeting: Meeting | None, answers: Any
) -> None:
    """In a process of its own; puts the samples a second that it has taken, were its share the whole batch."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    config = load("pong", [*overrides, "learner.device=cpu", "learner.compile=false"]).config
    learner = Learner(build_agent(config, SPEC), config)
    batch = replace(fixed_batch(config.learner.batch_size // share.workers), rarest=1.0)
    if together:
        if meeting is None:
            meeting, store = open_meeting("127.0.0.1", share.workers, LIMIT_S)
            answers.put(meeting)
        else:
            store = come_to(meeting, share, LIMIT_S)
        learner.team = Team(store, share, learner.device, LIMIT_S)
    for _ in range(WARM_UP):
        learner.update(batch)
    done, started, goes_on = 0, time.perf_counter(), torch.ones(1)
    while goes_on:
        learner.update(batch)
        done += 1
        if done % ASKED_EVERY == 0:
            goes_on = torch.tensor([float(time.perf_counter() - started < SECONDS)])
            if learner.team is not None:  # all end with the same update
                goes_on = learner.team.least(goes_on)()
    answers.put(config.learner.batch_size * done / (time.perf_counter() - started))
    Team.leave()


def measure(overrides: list[str], workers: int, threads: int, together: bool) -> float:
    """Samples a second of all workers."""
    context = multiprocessing.get_context("spawn")
    answers, meeting, processes = context.Queue(), None, []
    for worker in range(workers):
        given = overrides, threads, Share(worker, workers), together, meeting, answers
        processes.append(context.Process(target=updates_of, args=given))
        processes[-1].start()
        if worker == 0 and together:
            meeting = answers.get()
    rates: list[float] = [answers.get() for _ in processes]
    for process in processes:
        process.join()
    return sum(rates) / workers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds, figures = parser.parse_args().rounds, {}
    for name, overrides in PRESETS.items():
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way, setting in WAYS.items():
                found[way].append(measure(list(overrides), *setting))
        rates = {way: median(values) for way, values in found.items()}
        show(f"learner, {name}", "samples/s", rates, "one worker")
        figures[name] = {"samples_per_s": rates, "rounds": found}
    write(ROOT / "results" / "bench" / "learner_workers.json", figures)


if __name__ == "__main__":
    main()
