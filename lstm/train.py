"""A training run: the loop of one worker, and the run around all of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from cluster import data_parallel
from cluster.data_parallel import StopRequest, Worker, newest_checkpoint, report, this_worker
from lstm import checkpoint
from lstm.cell import State
from lstm.config import PRESETS, LstmConfig, TrainingConfig
from lstm.forecasting import beside_start
from lstm.learning import Learner, held_out_cost
from lstm.metrics import EXPORTED, METRICS, line
from lstm.network import build
from lstm.tasks.base import Batch, Task
from lstm.tasks.forecast import Forecast
from lstm.tasks.make import make_task, settled
from trainkit import checkpoints
from trainkit.checkpoints import set_aside_damaged, updates
from trainkit.errors import UserError
from trainkit.files import atomic_folder
from trainkit.training_log import ByTime, TrainingLog
from trainkit.words import Say, plural

MOST_VALIDATION_BATCHES = 200  # of a validation during training
Reported = Callable[[dict[str, float], Callable[[Path], None] | None], None]


def train(config: LstmConfig, run: Path | None = None, say: Say = print) -> Path:
    """Train, or go on with `run`; the run's folder. UserError for every mistake that the user can mend."""
    if run is not None:
        set_aside_damaged(run, say)
    known = None if run is None or not updates(run) else checkpoint.facts(run)
    task = make_task(config, known, ByTime(say))  # mistakes in the data show before any worker starts
    for text in task.describe():
        say(text)
    config = settled(config, task)
    run = data_parallel.train(PRESETS.trainer, config, run, work, {}, partial(line, unit=task.unit), say)
    if isinstance(task, Forecast):
        say(beside_start(checkpoint.load_network(run, task.shape), task, ByTime(say)))
    say(f"finished after {plural(updates(run), 'update')}{early_end(run, config.training)}")
    return run


def early_end(run: Path, t: TrainingConfig) -> str:
    """Why a run that is over made fewer than its `training.steps`; '' where it made them."""
    state = checkpoints.state(checkpoints.newest(run))
    if state["step"] >= t.steps:
        return ""
    if t.patience is not None and state["since_best"] >= t.patience:
        lasts = "1 validation was" if t.patience == 1 else f"{t.patience} validations were"
        return f" of {t.steps:,}: the last {lasts} no better than the best (training.patience)"
    return f" of {t.steps:,}: {t.stop_after_s:g} s are over (training.stop_after_s)"


def work(settings: dict[str, Any]) -> None:
    """One worker's whole run; what `fit` calls."""
    config, run, worker = LstmConfig.model_validate(settings["config"]), Path(settings["run"]), this_worker()
    torch.set_num_threads(config.workers.cpus)
    with newest_checkpoint(run) as folder:
        learn(config, run, worker, folder, partial(report, worker))


def train_here(config: LstmConfig, run: Path, log: Callable[[dict[str, float]], None] = lambda row: None) -> float:
    """Train in this process without Ray, into an existing folder; the lowest validation cost. `log` of validations."""

    def reported(row: dict[str, float], write: Callable[[Path], None] | None) -> None:
        if write is not None:
            with atomic_folder(run / "checkpoint_newest") as folder:
                write(folder)
        log(row)

    return learn(settled(config), run, Worker(0, 1, torch.device("cpu")), None, reported)


def learn(config: LstmConfig, run: Path, worker: Worker, newest: Path | None, reported: Reported) -> float:
    """Train in this process as one of the workers, from the checkpoint `newest` on; the lowest validation cost."""
    t, task = config.training, make_task(config, None if newest is None else checkpoint.facts_in(newest))
    # Equal weights on all workers. A forecast begins as what it starts from.
    network = build(config.model, task.shape, config.seed, quiet=config.forecast is not None).to(worker.device)
    learner = Learner(network, worker.wrap(network), task, t, worker.count, worker.total)
    carried: State = ()
    if newest is not None:
        carried = tuple(part[:, worker.share(t.batch)] for part in checkpoint.resume(newest, learner, worker.device))
    writer = worker.open_log(run, learner.step, METRICS, EXPORTED)
    saving, stop_requested = _Saving(config, worker, task, learner, writer, reported), StopRequest(run, worker)
    clock, began, saved = _Clock(learner.step), time.monotonic(), learner.step
    while learner.step < t.steps:
        if t.stop_after_s is not None:  # by the first worker's clock: all must stop after the same update
            elapsed = float(worker.total(time.monotonic() - began if worker.first else 0.0))
            if elapsed >= t.stop_after_s:
                break
            learner.at = int(t.steps * elapsed / t.stop_after_s)
        whole = task.batch(learner.step)
        batch = whole.rows(worker.share(len(whole.inputs))).to(worker.device)
        # Dropout follows from the seed and the update, as the batch does: a run that goes on draws the same again.
        torch.manual_seed(hash((config.seed, learner.step, worker.rank)))
        loss, norm, after = learner.update(batch, carried or None)
        carried = after if task.carried else ()
        if not math.isfinite(loss):
            raise UserError(f"loss became {loss} at step {learner.step}; try a smaller training.learning_rate")
        stops = stop_requested()
        clock.timesteps += whole.inputs.shape[0] * whole.inputs.shape[1]
        if writer and writer.due(learner.step, t.report_every_steps):
            row = {"step": learner.step, "loss": loss, "grad_norm": norm, "workers": worker.count}
            writer.write({**row, **clock.rates(learner.step)})
            clock = _Clock(learner.step)
        if learner.step % t.validate_every_steps == 0 or learner.step == t.steps:
            goes_on = saving.validate(carried)
            clock, saved = _Clock(learner.step), learner.step
            if stops or not goes_on:
                break
        elif stops:
            # No validation: going on is to give what never stopping gives.
            saving.save(carried, {"step": learner.step})
            saved = learner.step
            break
    if saved < learner.step:
        saving.validate(carried)
    if writer:
        writer.close()
    return learner.best_cost


class _Clock:
    """Counts since a row."""

    def __init__(self, step: int) -> None:
        self._started, self._since, self.timesteps = time.monotonic(), step, 0

    def rates(self, step: int) -> dict[str, float]:
        seconds = time.monotonic() - self._started
        return {"timesteps_per_s": self.timesteps / seconds, "updates_per_s": (step - self._since) / seconds}


@dataclass(frozen=True)
class _Saving:
    """Validations and checkpoints of one worker."""

    config: LstmConfig
    worker: Worker
    task: Task
    learner: Learner
    writer: TrainingLog | None
    reported: Reported

    def validate(self, carried: State) -> bool:
        """The cost of held-out data, and a checkpoint; whether to go on."""
        learner, worker = self.learner, self.worker
        if self.writer:
            self.writer.busy(f"validation after step {learner.step:,}")
        cost = held_out_cost(self.task, learner.network, _shared(self.task.validation(), worker), worker.total)
        goes_on = learner.judge(cost)
        row = {"step": learner.step, "validation_loss": cost, "best_loss": learner.best_cost}
        if self.writer:
            self.writer.write(row)
        self.save(carried, row)
        return goes_on

    def save(self, carried: State, row: dict[str, float]) -> None:
        everyone = tuple(_gathered(part, self.worker, self.config.training.batch) for part in carried)
        self.reported(row, lambda folder: checkpoint.save(folder, self.config, self.task, self.learner, everyone))


def _shared(batches: Iterator[Batch], worker: Worker) -> Iterator[Batch]:
    """The worker's rows of each batch that has any for it."""
    for batch in islice(batches, MOST_VALIDATION_BATCHES):
        mine = batch.rows(worker.share(len(batch.inputs)))
        if len(mine.inputs):
            yield mine.to(worker.device)


def _gathered(part: torch.Tensor, worker: Worker, size: int) -> torch.Tensor:
    """The states [layers, B, size] of all sequences, of which each worker has its rows."""
    layers, _, width = part.shape
    whole = part.new_zeros(layers, size, width)
    whole[:, worker.share(size)] = part
    return worker.total(whole).to(part.dtype)
