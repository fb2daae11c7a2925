"""Samples a second that a learner takes with one worker and with two, a core each, on fixed batches.

    python -m benchmarks.learner_workers [--rounds 3]

Beside them one worker with both cores. Rounds are in turns: one, two, both cores, one, ...
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
WAYS = {"one worker": (1, 1), "two workers": (2, 1), "one worker, two threads": (1, 2)}  # workers, threads of each
WARM_UP, SECONDS, LIMIT_S = 3, 20.0, 60.0


def updates_of(overrides: list[str], threads: int, share: Share, meeting: Meeting | None, answers: Any) -> None:
    """In a process of its own; puts (share, updates, seconds)."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    config = load("pong", [*overrides, "learner.device=cpu", "learner.compile=false"]).config
    learner = Learner(build_agent(config, SPEC), config)
    batch = replace(fixed_batch(config.learner.batch_size // share.workers), rarest=1.0)
    if share.workers > 1:
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
        goes_on = torch.tensor([float(time.perf_counter() - started < SECONDS)])
        if learner.team is not None:  # all end with the same update
            goes_on = learner.team.least(goes_on)
    answers.put(config.learner.batch_size * done / (time.perf_counter() - started))
    Team.leave()


def measure(overrides: list[str], workers: int, threads: int) -> float:
    """Samples a second of all workers together."""
    context = multiprocessing.get_context("spawn")
    answers, meeting, processes = context.Queue(), None, []
    for worker in range(workers):
        given = overrides, threads, Share(worker, workers), meeting, answers
        processes.append(context.Process(target=updates_of, args=given))
        processes[-1].start()
        if worker == 0 and workers > 1:
            meeting = answers.get()
    rates = [answers.get() for _ in processes]
    for process in processes:
        process.join()
    return float(rates[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds, figures = parser.parse_args().rounds, {}
    for name, overrides in PRESETS.items():
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way, (workers, threads) in WAYS.items():
                found[way].append(measure(list(overrides), workers, threads))
        rates = {way: median(values) for way, values in found.items()}
        show(f"learner, {name}", "samples/s", rates, "one worker")
        ratio = rates["two workers"] / rates["one worker"]
        figures[name] = {"samples_per_s": rates, "rounds": found, "two_to_one": ratio}
    write(ROOT / "results" / "bench" / "learner_workers.json", figures)


if __name__ == "__main__":
    main()
