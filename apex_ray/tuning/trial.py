"""A run at the pace of a caller that steps, saves, restores and stops it, such as Ray Tune."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from apex_ray.config.schema import ApexConfig
from apex_ray.learner.checkpoint import Counters, load_policy_weights
from apex_ray.run.hooks import Hooks
from apex_ray.run.loop import Run
from apex_ray.run.resume import prepare_resume
from apex_ray.run.training import prepare, running
from apex_ray.tuning import saved
from apex_ray.types import AnyArray, EnvSpec, EvaluationResult
from trainkit.config import to_yaml
from trainkit.errors import NotWrittenError, UserError
from trainkit.runs import create_run

Row = dict[str, float]


class Trial:
    """One run, whose processes start when they are first needed: a trial that is restored first starts them once.

    UserError when it is made, for every mistake that shows before Ray is asked for anything; later ones end the run.
    """

    def __init__(self, config: ApexConfig) -> None:
        self._prepared = prepare(config, None, False, {})
        self._run: Run | None = None
        self._leave = ExitStack()
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
        if self._run is None and self.folder is not None:
            return load_policy_weights(self.folder, "latest")[0]
        with self._started() as run:
            return run.weights().params

    def save(self, folder: Path, replay: bool, facts: Mapping[str, Any]) -> saved.Size:
        """Write a checkpoint into `folder`, with the replay where asked (tuning/saved.py says what is there).

        NotWrittenError when there is no room: the run can go on.
        """
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

    def restore(self, folder: Path) -> tuple[dict[str, Any], Counters]:
        """Be the run that was saved in `folder`, with these settings: the facts it was saved with, and how far it was.

        UserError where settings differ that may not (config/resume.py), or nothing whole is there. What ran before in
        this trial is ended; its folder stays.
        """
        facts, before = saved.facts(folder), saved.settings(folder)
        kept = {name: getattr(before, name) for name in ("name", "seed", "runs_dir")}  # they are of the run, not of us
        config = self.config.model_copy(
            update=kept | {"learner": self.config.learner.model_copy(update={"init_from": before.learner.init_from})}
        )
        prepare_resume(folder, config)  # refused here, before anything is ended or written
        self.stop("another checkpoint is restored")
        run, settings = create_run(self.config.runs_dir, config.name, to_yaml(config)), to_yaml(config)
        saved.put_back(folder, run)
        going_on = prepare_resume(run, config)
        self._prepared = replace(
            self._prepared, config=config, settings=settings, run=run, going_on=going_on, warm=None
        )
        self.folder, self._ended = run, ""
        return facts, going_on.saved.counters

    def stop(self, reason: str, drawn: bool = False) -> None:
        """End the run, if it has started: its final checkpoint is written, and no process of it is left.

        `drawn`: with its learning curve.
        """
        if self._run is None:
            return
        try:
            self._run.finish(reason, drawn)
        finally:
            self._run, self._ended = None, reason
            self._leave.__exit__(*sys.exc_info())

    @contextmanager
    def _started(self) -> Iterator[Run]:
        """The run, which an error inside ends."""
        if self._ended:
            raise UserError(f"this run has ended ({self._ended}); restore a checkpoint, or build a new one")
        if self._run is None:
            leave = ExitStack()
            self._run = leave.enter_context(running(self._prepared, Hooks(), table=False))
            self._leave, self.folder = leave, self._run.folder.absolute()
            saved.drop_replay(self.folder)
        try:
            yield self._run
        except NotWrittenError:
            raise
        except Exception as error:
            self._run, self._ended = None, str(error)
            self._leave.__exit__(*sys.exc_info())
            raise
