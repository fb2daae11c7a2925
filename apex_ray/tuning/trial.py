"""A run at the pace of a caller that steps, saves, restores and stops it, such as Ray Tune."""

from __future__ import annotations

import atexit
import shutil
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from apex_ray.config.schema import ApexConfig
from apex_ray.learner.checkpoint import load_policy_weights
from apex_ray.run.hooks import Hooks
from apex_ray.run.loop import Run
from apex_ray.run.resume import prepare_resume
from apex_ray.run.training import prepare, running
from apex_ray.tuning import saved
from apex_ray.types import AnyArray, Counters, EnvSpec, EvaluationResult
from cluster.initialised import session
from trainkit.config import to_yaml
from trainkit.errors import NotWrittenError, UserError
from trainkit.runs import create_run

Row = dict[str, float]


@dataclass
class _Going:
    """A run whose processes are there."""

    run: Run
    leave: ExitStack  # ends them
    ray: str | None  # the Ray that they are in; None: they are in no Ray

    def finish(self, reason: str, drawn: bool = False) -> None:
        """Write the final checkpoint, and end every process of the run."""
        try:
            if not self.lost:
                self.run.finish(reason, drawn)
        finally:
            self.leave.__exit__(*sys.exc_info())

    @property
    def lost(self) -> bool:
        """Whether the program has left that Ray, and ended the run's processes by it."""
        return self.ray is not None and self.ray != session()


def _finish_dropped(going: _Going) -> None:
    """Of a trial that nobody stopped, as it is deleted or the program ends."""
    if threading.current_thread() is threading.main_thread():
        going.finish("the program did not stop it")
    else:  # the garbage collector's call, from wherever it was
        atexit.register(going.finish, "the program did not stop it")


class Trial:
    """One run, whose processes start when they are first needed: a trial that is restored first starts them once.

    One that is not stopped ends with the program, or as it is deleted.

    UserError when it is made, for every mistake that shows before Ray is asked for anything; later ones end the run.
    """

    def __init__(self, config: ApexConfig, before: Callable[[], None] = lambda: None) -> None:
        """`before` is called before its processes start."""
        self._prepared, self._before = prepare(config, None, False, {}), before
        self._going: _Going | None = None
        self._dropped: weakref.finalize[Any, Any] | None = None  # what ends a run that nobody stopped
        self._ended = ""  # why it can't go on
        self.folder: Path | None = None  # of the run; None before the first start

    @property
    def config(self) -> ApexConfig:
        return self._prepared.config

    @property
    def spec(self) -> EnvSpec:
        return self._prepared.spec

    def step(self, min_s: float, enough: Callable[[Row], bool]) -> tuple[Row, str | None]:
        """Go on for `min_s` seconds, and until a row is `enough`: that row, and why the run is to stop, if it is."""
        with self._started() as run:
            began = monotonic()
            while True:
                reason = run.turn()
                if reason is not None:
                    return run.report(), reason
                if monotonic() - began >= min_s and enough(row := run.report()):
                    return row, None

    def row(self) -> Row:
        """The metrics of now."""
        with self._started() as run:
            return run.report()

    def evaluate(self) -> EvaluationResult:
        """Full episodes with the newest weights, waited for as training goes on."""
        with self._started() as run:
            result = run.evaluate()
            assert result is not None, "only Ctrl-C ends one early, which this run does not ask for"
            return result

    def params(self) -> dict[str, AnyArray]:
        """The network's newest parameters by name: of the run, or of what it will go on from or has ended with."""
        if self._going is None and self.folder is not None:
            return load_policy_weights(self.folder, "latest")[0]
        with self._started() as run:
            return run.weights().params

    def save(self, folder: Path, replay: bool, facts: Mapping[str, Any]) -> saved.Size:
        """Write a checkpoint into `folder`, with the replay where asked (tuning/saved.py says what is there).

        UserError where `folder` holds something else, NotWrittenError when there is no room: the run can go on.
        """
        saved.check_place(folder)
        with self._started() as run:
            checkpoint = run.save(replay)
            if not checkpoint.is_dir():
                raise UserError(
                    f"checkpoint {checkpoint} was written on the learner's machine, which this one does not see; "
                    "expected runs_dir in a folder that all machines share"
                )
            size = saved.save(run.folder, checkpoint, folder, facts)
            run.say(f"checkpoint saved in {folder}: {size}")
            return size

    def restore(self, folder: Path, asked: str = "restore") -> tuple[dict[str, Any], Counters]:
        """Be the run that was saved in `folder`, with these settings: the facts it was saved with, and how far it was.

        UserError, which names what its caller `asked` for, where settings differ that may not (config/resume.py), or
        nothing whole is there: what ran before in this trial goes on. Else it is ended; its folder stays.
        """
        facts, before = saved.facts(folder), saved.settings(folder)
        kept = {name: getattr(before, name) for name in ("name", "seed", "runs_dir")}  # they are of the run, not of us
        config = self.config.model_copy(
            update=kept | {"learner": self.config.learner.model_copy(update={"init_from": before.learner.init_from})}
        )
        prepare_resume(folder, config, asked)  # refused here, before anything is ended or written
        run, settings = create_run(self.config.runs_dir, config.name, to_yaml(config)), to_yaml(config)
        try:
            saved.put_back(folder, run)
            going_on = prepare_resume(run, config, asked)
        except UserError:
            shutil.rmtree(run, ignore_errors=True)
            raise
        self.stop("another checkpoint is restored")
        self._prepared = replace(
            self._prepared, config=config, settings=settings, run=run, going_on=going_on, warm=None
        )
        self.folder, self._ended = run, ""
        return facts, going_on.saved.counters

    def stop(self, reason: str, drawn: bool = False) -> None:
        """End the run: its final checkpoint is written, where it has started, and no process of it is left.

        `drawn`: with its learning curve.
        """
        going, self._ended = self._forget(), self._ended or reason
        if going is not None:
            going.finish(reason, drawn)

    @contextmanager
    def _started(self) -> Iterator[Run]:
        """The run, which an error inside ends."""
        if self._ended:
            raise UserError(f"this run has ended ({self._ended}); restore a checkpoint, or build a new one")
        if self._going is not None and self._going.lost:
            self.stop("ray.shutdown() has ended its processes")
            raise UserError(f"this run has ended ({self._ended}); restore a checkpoint, or build a new one")
        if self._going is None:
            self._start()
        assert self._going is not None
        try:
            yield self._going.run
        except NotWrittenError:
            raise
        except Exception as error:
            going, self._ended = self._forget(), str(error)
            if going is not None:
                going.leave.__exit__(*sys.exc_info())
            raise

    def _start(self) -> None:
        self._before()
        leave = ExitStack()
        run = leave.enter_context(running(self._prepared, Hooks(), table=False))
        self.folder = run.folder.absolute()
        self._going = _Going(run, leave, None if self.config.mode == "serial" else session())
        saved.drop_replay(self.folder)
        # Not by the finaliser's own atexit, which may come after Ray's: what is registered last is called first.
        self._dropped = weakref.finalize(self, _finish_dropped, self._going)
        self._dropped.atexit = False
        atexit.register(self._dropped)

    def _forget(self) -> _Going | None:
        """The run that was there, which its caller ends."""
        going, self._going = self._going, None
        if self._dropped is not None:
            self._dropped.detach()
            atexit.unregister(self._dropped)
            self._dropped = None
        return going
