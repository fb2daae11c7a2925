"""LSTM training: our updates beside a bare torch loop on nn.LSTM and beside the written cells; two workers beside one.

Characters a second of whole updates, batch 50 of 50 characters, one core each, in turns in one process; the two workers
are two processes of one core that average their gradients by gloo, as Ray Train's do, each with half of a batch twice
as large. Two that share nothing, each with a batch of its own, are what two cores allow.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.multiprocessing as mp
from torch import nn
from torch.multiprocessing.spawn import spawn
from torch.nn import functional

from benchmarks.machine import ROOT, write
from benchmarks.table import rates, show
from lstm.cell import State
from lstm.config import ModelConfig, TrainingConfig
from lstm.learning import Learner, one_worker
from lstm.network import build
from lstm.tasks.codes import NextCode

CLASSES, EMBEDDING, BATCH, CHUNK, SECONDS = 65, 64, 50, 50, 2.0
BARE, FUSED, WRITTEN = "bare torch loop", "apex-lstm, fused", "apex-lstm, written cells"
ALONE = "2 that share nothing"


def task(size: int = BATCH) -> NextCode:
    codes = np.random.default_rng(0).integers(0, CLASSES, 1_000_000)
    return NextCode(codes[:900_000], codes[900_000:], CLASSES, size, CHUNK, "character")


def ours(hidden: int, implementation: str, learner: Learner | None = None) -> Callable[[], int]:
    data = task()
    if learner is None:
        network = build(ModelConfig(hidden=hidden, embedding=EMBEDDING, implementation=implementation), data.shape, 0)
        learner = Learner(network, network, data, TrainingConfig(steps=10**6), 1, one_worker)
    carried: State | None = None

    def work() -> int:
        nonlocal carried
        _, _, carried = learner.update(data.batch(learner.step), carried)
        return BATCH * CHUNK

    return work


def bare(hidden: int) -> Callable[[], int]:
    data = task()
    embedding, lstm, out = (
        nn.Embedding(CLASSES, EMBEDDING),
        nn.LSTM(EMBEDDING, hidden, batch_first=True),
        nn.Linear(hidden, CLASSES),
    )
    parameters = [*embedding.parameters(), *lstm.parameters(), *out.parameters()]
    optimizer, step, state = torch.optim.AdamW(parameters), 0, None

    def work() -> int:
        nonlocal step, state
        batch = data.batch(step)
        outputs, state = lstm(embedding(batch.inputs), state)
        state = tuple(part.detach() for part in state)
        loss = functional.cross_entropy(out(outputs).flatten(0, 1), batch.targets.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        loss.item()
        step += 1
        return BATCH * CHUNK

    return work


def one_of(rank: int, count: int, together: bool, place: str, hidden: int, answers: mp.Queue[float]) -> None:
    """One of so many processes that train at the same time: together on one batch, or each on its own."""
    torch.distributed.init_process_group("gloo", f"file://{place}", rank=rank, world_size=count)
    torch.set_num_threads(1)
    share = count if together else 1

    def total(value: float | torch.Tensor) -> torch.Tensor:
        number = one_worker(value).clone()
        torch.distributed.all_reduce(number)
        return number

    data = task(BATCH * share)
    network = build(ModelConfig(hidden=hidden, embedding=EMBEDDING), data.shape, 0)
    wrapped = nn.parallel.DistributedDataParallel(network) if share > 1 else network
    summed = total if share > 1 else one_worker
    learner = Learner(network, wrapped, data, TrainingConfig(steps=10**6), share, summed)
    carried: State | None = None
    for turn in ("warm", "timed"):
        torch.distributed.barrier()
        started = time.monotonic()
        for _ in range(10 if turn == "warm" else 200):
            batch = data.batch(learner.step).rows(slice(rank if together else 0, None, share))
            _, _, carried = learner.update(batch, carried)
            summed(0.0)  # as each worker asks after an update whether the run is to stop
    torch.distributed.barrier()
    if rank == 0:
        answers.put(200 * BATCH * count * CHUNK / (time.monotonic() - started))


def workers(count: int, hidden: int, together: bool = True) -> float:
    context = mp.get_context("spawn")
    answers = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        given = count, together, str(Path(folder) / "meet"), hidden, answers
        spawn(one_of, given, nprocs=count, join=True)  # type: ignore[no-untyped-call]
    return float(answers.get())


def main() -> None:
    torch.set_num_threads(1)
    figures: dict[str, dict[str, float]] = {}
    for hidden in (128, 256):
        contestants = {
            BARE: bare(hidden), FUSED: ours(hidden, "fused"), WRITTEN: ours(hidden, "written"),
        }  # fmt: skip
        found = rates(contestants, seconds=SECONDS)
        show(f"LSTM training, {hidden} units, one core", "characters/s", found, BARE)
        scaled = {"1 worker": workers(1, hidden), "2 workers": workers(2, hidden), ALONE: workers(2, hidden, False)}
        show(f"LSTM training, {hidden} units, workers of one core", "characters/s", scaled, "1 worker")
        figures[f"{hidden} units"] = {**found, **scaled}
    write(ROOT / "results" / "bench" / "lstm.json", {"training, characters/s": figures})


if __name__ == "__main__":
    main()
