"""Data-parallel training on the cluster by Ray Train: workers that hold equal weights and share each batch.

What a worker does with its share is the trainer's; here is what all trainers need: starting the workers (and again,
from the last checkpoint, when some are lost), which of them this one is, sums over all of them, checkpoints. A mistake
in settings, data or code ends the run at once; only a lost process, node or connection is tried again.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cluster import ray_private
from cluster.connect import Embedded, cluster_address, connected
from cluster.metrics import Exporter
from cluster.room import FreeRoom, bundles, wait_for_room
from cluster.workers_config import ADDRESS, WorkersConfig
from trainkit.checkpoints import nothing_half_written, updates, whole
from trainkit.command_line import program
from trainkit.config import to_yaml
from trainkit.errors import UserError, with_kind
from trainkit.exported import Exported, Metric
from trainkit.interrupts import stop_requested
from trainkit.run_layout import STOP_FILE
from trainkit.run_record import record_start
from trainkit.runs import create_run, go_on_with, uri_of_runs
from trainkit.storage import kept_at
from trainkit.training_log import TrainingLog, followed
from trainkit.words import Say

KEPT_CHECKPOINTS = 2
OBJECT_STORE_BYTES = 256 * 2**20  # of a Ray of its own: workers exchange gradients, not objects
IMPORTS = ("ray.train.torch", "torch._dynamo")  # of every worker
SEEN = "seen"  # what workers that end because of it write into the stop file
LOOK_S = 0.5  # how often a worker looks for it
# A collective's error when the process at its other end is gone: torch raises RuntimeError for these.
LOST_PEER = ("gloo", "nccl", "connection closed", "connection reset", "broken pipe", "timed out")


def train(
    trainer: str,
    config: Any,
    run: Path | None,
    loop: Callable[[dict[str, Any]], None],
    settings: Mapping[str, Any],
    line: Callable[..., str],
    say: Say,
) -> Path:
    """A new run of `config`, or `run`, which goes on with it; its folder, when `loop` has returned on all workers.

    `loop` gets `config`, as plain values, `run`, and `settings`. `line(row, steps=...)` puts a row of metrics in words.
    UserError as of `fit`, and when all updates of `run` are made.
    """
    if uri := uri_of_runs(config.runs_dir) if run is None else kept_at(run):
        raise UserError(
            f"{'runs_dir = ' if run is None else ''}{uri!r}: {trainer} trains in folders only; expected a path, on "
            "storage that all nodes share"
        )
    if run is None:
        run = create_run(config.runs_dir, config.name, to_yaml(config))
    else:
        go_on_with(run, to_yaml(config), updates(run), config.training.steps)
    record_start(run, trainer)
    say(f"run folder {run}")
    say(f"watch with {program('tensorboard')} --logdir {run.parent}")
    given = {"config": config.model_dump(mode="json"), "run": str(run.absolute()), **settings}
    with followed(run, partial(line, steps=config.training.steps), say):
        fit(loop, given, config.workers, run, say)
    return run


def fit(
    loop: Callable[[dict[str, Any]], None],
    settings: Mapping[str, Any],
    workers: WorkersConfig,
    run: Path,
    say: Say = print,
) -> None:
    """Run `loop(settings)` on every worker until it returns on all; checkpoints lie in `run`, as whole folders.

    They run on the cluster that `workers.address` means, or on a Ray of this process's own. While other jobs hold what
    the least of them need, that is told and waited for. Lost workers are started again with the newest checkpoint,
    `max_failures` times. UserError when they could never fit, when the loop raises, with its own message, or when too
    many were lost. All nodes must see `run`. The loops are told of Ctrl-C or SIGTERM (`StopRequest`) and are to write a
    checkpoint and return; then KeyboardInterrupt. A second one ends all at once.
    """
    address, stop = cluster_address(workers.address, ADDRESS), run / STOP_FILE

    def ask() -> None:
        stop.touch()
        with suppress(OSError):  # Ctrl-C may have ended who reads our output; an error here would end the run
            say("asked to stop: after this update, then a checkpoint; once more stops at once, without")

    stop.unlink(missing_ok=True)
    _drop_stale_list(run)
    imports = (loop.__module__, *IMPORTS)
    embedded = Embedded(workers.range.most * workers.cpus, OBJECT_STORE_BYTES, imports=imports)
    with connected(address, embedded, ADDRESS):
        if address is not None:
            wait_for_room(bundles(workers), workers.autoscale_s, say)
        try:
            with stop_requested(ask), nothing_half_written(run):
                _trainer(loop, settings, workers, run, embedded=address is None).fit()
            stopped = stop.exists() and stop.read_text() == SEEN  # and not come to its end by itself
        except Exception as error:
            raise _explained(error, run) from None
        finally:
            stop.unlink(missing_ok=True)
    if stopped:
        say(f"stopped with {whole(run)[-1].name}; go on with train --resume {run}")
        raise KeyboardInterrupt


def _trainer(
    loop: Callable[[dict[str, Any]], None],
    settings: Mapping[str, Any],
    workers: WorkersConfig,
    run: Path,
    embedded: bool,
) -> Any:
    # Progress is told by the trainer; Ray Train's own log goes to its files.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")  # how late an end or a loss is seen
    if embedded:
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # the one node is this machine
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, UserCallback
    from ray.train.torch import TorchConfig

    class MistakesEndTheRun(UserCallback):
        """Ray Train would try a mistake again as if a worker had been lost."""

        def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
            for error in worker_exceptions.values():
                if is_mistake(error):
                    raise error

    (worker,) = bundles(workers)
    room = None if isinstance(workers.count, int) else FreeRoom(worker, run.absolute())
    return ray_private.torch_trainer(embedded, room)(
        loop,
        train_loop_config=dict(settings),
        torch_config=TorchConfig(backend="nccl" if workers.gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers.count,  # type: ignore[arg-type]  # a pair is elastic; the hints lag behind
            use_gpu=workers.gpu,
            label_selector=dict(workers.labels) or None,  # type: ignore[call-arg]
            resources_per_worker={"CPU": float(workers.cpus), **({"GPU": 1.0} if workers.gpu else {})},
        ),
        run_config=RunConfig(
            name=run.name,
            storage_path=str(run.parent.absolute()),
            failure_config=FailureConfig(max_failures=workers.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=KEPT_CHECKPOINTS),
            callbacks=[MistakesEndTheRun()],  # type: ignore[list-item]  # the hints are those of Ray Tune's callbacks
        ),
    )


def _drop_stale_list(run: Path) -> None:
    """Remove Ray Train's list of the run's checkpoints where Ray Train would refuse to start with it.

    So when a user removed a checkpoint that is on it, or when it broke off as it was written. Without it a run goes on
    from the newest whole checkpoint.
    """
    file = run / ray_private.CHECKPOINT_LIST
    if not file.exists():
        return
    try:
        listed = [result["checkpoint_dir_name"] for result in json.loads(file.read_bytes())["checkpoint_results"]]
    except (ValueError, KeyError, TypeError):
        listed = None
    if listed is None or not all((run / name).is_dir() for name in listed):
        file.unlink()


def is_mistake(error: BaseException) -> bool:
    """Whether a worker's error would come again: not one of a lost process, node or connection."""
    from ray.exceptions import RayError

    lost = isinstance(error, RayError | ConnectionError | torch.distributed.DistError)
    if lost or ray_private.is_of_ray_train(error):
        return False
    return not (isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in LOST_PEER))


def _explained(error: Exception, run: Path) -> UserError:
    """The worker's own error, out of what Ray Train wraps around it."""
    failures = getattr(error, "worker_failures", None) or {}
    inner = next(iter(failures.values()), getattr(error, "controller_failure", error))
    while (cause := getattr(inner, "cause", None) or inner.__cause__) is not None and cause is not inner:
        inner = cause
    if isinstance(inner, UserError):
        return inner
    return UserError(f"a worker failed: {with_kind(inner)} (all of it in {run} and the logs of Ray)")


@dataclass(frozen=True)
class Worker:
    """The process we are in, among the workers."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether it is the one that writes."""
        return self.rank == 0

    def open_log(
        self, run: Path, step: int, metrics: Mapping[str, Metric], exported: Mapping[str, Exported]
    ) -> TrainingLog | None:
        """The log of a run that goes on at `step`, of the first worker."""
        if not self.first:
            return None
        return TrainingLog(run, step, metrics, Exporter(metrics, exported, {"run": run.name}).export)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with gradients averaged over the workers."""
        if self.count == 1:
            return model
        return nn.parallel.DistributedDataParallel(model)

    def total(self, value: float | Tensor) -> Tensor:
        """The sum of all workers' values, float64; all must ask for it."""
        number = torch.as_tensor(value, dtype=torch.float64, device=self.device).detach().clone()
        if self.count > 1:
            torch.distributed.all_reduce(number)
        return number

    def share(self, rows: int) -> slice:
        """Its rows of a batch: every count-th."""
        return slice(self.rank, rows, self.count)


class StopRequest:
    """Whether the run's user asked it to end; the same answer on all workers."""

    def __init__(self, run: Path, worker: Worker) -> None:
        self._file, self._worker, self._looked = run / STOP_FILE, worker, time.monotonic()

    def __call__(self) -> bool:
        """All workers must ask after the same update."""
        return float(self._worker.total(float(self._seen()))) > 0

    def _seen(self) -> bool:
        now = time.monotonic()
        if not self._worker.first or now - self._looked < LOOK_S:
            return False
        self._looked = now
        requested = self._file.exists()
        if requested:
            self._file.write_text(SEEN)
        return requested


def this_worker() -> Worker:
    """Of the process that `fit`'s loop runs in."""
    from ray.train import get_context
    from ray.train.torch import get_device

    context = get_context()
    device = get_device()
    assert isinstance(device, torch.device)
    return Worker(context.get_world_rank(), context.get_world_size(), device)


@contextmanager
def newest_checkpoint(run: Path) -> Any:
    """The folder of the run's newest checkpoint, or None at the first start.

    The one that was reported last, as Ray Train knows it, counts first. A run folder that was copied without Ray
    Train's list has checkpoints that it knows nothing of: then the newest whole one.
    """
    from ray.train import get_checkpoint

    checkpoint = get_checkpoint()
    if checkpoint is None:
        found = whole(run)
        yield found[-1] if found else None
        return
    with checkpoint.as_directory() as folder:
        yield Path(folder)


def report(worker: Worker, metrics: Mapping[str, float], write: Callable[[Path], None] | None = None) -> None:
    """Tell Ray Train; all workers must. With `write`, the first worker writes a checkpoint's files into a folder."""
    from ray import train

    if write is None or not worker.first:
        train.report(dict(metrics))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        train.report(dict(metrics), checkpoint=train.Checkpoint.from_directory(folder))
