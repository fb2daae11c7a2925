"""The loop of a run: watches, reports, evaluates and saves until it is time to stop, at its own pace or a caller's."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from apex_ray.config.schema import ApexConfig
from apex_ray.learner.checkpoint import BEST, find
from apex_ray.report.console import Console
from apex_ray.report.diagnosis import Diagnoses
from apex_ray.report.episodes import reporter_named
from apex_ray.report.loggers import Loggers
from apex_ray.report.process_memory import MemoryLog
from apex_ray.report.writer import MetricsWriter
from apex_ray.run.due import Due
from apex_ray.run.hooks import Hooks
from apex_ray.run.limits import met_before, reached
from apex_ray.run.system import System
from apex_ray.types import EnvSpec, EvaluationResult, Weights
from trainkit.errors import NotWrittenError, UserError
from trainkit.storage import shown
from trainkit.tensor_files import NotFiniteError
from trainkit.words import plural

T = TypeVar("T")

WATCH_S = 1.0
POLL_S = 0.05  # while somebody waits for an evaluation
LAST_WORDS_S = 5.0  # that an abandoned evaluation is waited for: it looks at each step


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    run: Path  # its folder; of a run at a URI, its working folder on this machine
    reason: str
    interrupted: bool  # by Ctrl-C or SIGTERM
    last_return: float | None  # mean of the last evaluation, unclipped
    best_return: float | None  # of the best
    to_go_on: Sequence[str] = ()  # settings, where it ended by a limit or goal


class Run:
    """One run's bookkeeping around a system.

    `until_stopped` is the whole of it. A caller with a pace of its own makes `turn`s instead, with `report`, `evaluate`
    and `save` between them as it likes, and ends with `finish`. An error in any of these is raised after a checkpoint
    of what was learned, and the run is over.
    """

    def __init__(
        self,
        config: ApexConfig,
        spec: EnvSpec,
        folder: Path,
        run: Path,
        system: System,
        console: Console,
        writer: MetricsWriter,
        loggers: Loggers,
        hooks: Hooks,
        interrupted: Callable[[], bool],
        here: bool,
    ) -> None:
        """`run` is the whole path of `folder`, which the user knows the run by."""
        self._config, self.folder, self._run, self._system = config, folder, run, system
        self._console, self._writer, self._interrupted = console, writer, interrupted
        self._loggers, self._hooks = loggers, hooks
        self._checkpoint: Path | None = None  # the last that was written
        self._asked = ""  # the hook that asked for the end
        self._counters = replace(system.counters, generation=system.counters.generation + 1)
        self._best = system.counters.best_return
        self._last: float | None = None
        self._human: float | None = None
        self._row: dict[str, float] = {}  # the last one
        self._reported_at = -math.inf
        self._memory = MemoryLog(run / "memory.csv") if here else None
        self._reporter, self._scores_of = reporter_named(spec.reporter, spec.scores_of), spec.scores_of
        self._not_written: set[str] = set()  # what the disk has no room for, as far as was told
        self.outcome: Outcome | None = None  # set by `finish`
        self._due = Due(config, time.monotonic())
        self._diagnoses = Diagnoses(config)

    def say(self, text: str) -> None:
        """Show a line that stays."""
        self._console.event(text)

    def until_stopped(self) -> Outcome:
        while (reason := self.turn()) is None:
            pass
        return self.finish(reason)

    def turn(self) -> str | None:
        """Let the system work for WATCH_S seconds and do what is due: why the run is to stop, None where it isn't."""
        with self._saved_on_error():
            self._pass(WATCH_S)
            now = time.monotonic()
            if self._counters.updates and self._due.evaluation.due(now):
                self._system.start_evaluation(self._counters, self._interrupted)
            due = self._system.checkpoint_wanted() or self._due.checkpoint.due(now)
            if due and self._save("checkpoint") is None and self._config.saves_replay:
                self._write("the replay", self._system.start_snapshot)
            return self._stop_reason()

    def report(self) -> dict[str, float]:
        """The metrics of now by name, written and shown as a row."""
        with self._saved_on_error():
            self._report()
        return dict(self._row)

    def evaluate(self) -> EvaluationResult | None:
        """The newest weights' evaluation, waited for as training goes on; None where Ctrl-C came meanwhile."""
        with self._saved_on_error():
            while self._system.evaluating and not self._interrupted():  # that one judges older weights
                self._pass(POLL_S)
            result = None
            while result is None and not self._interrupted():
                self._system.start_evaluation(self._counters, self._interrupted)
                if (result := self._finish_evaluation()) is None:
                    result = self._pass(POLL_S)
            return result

    def weights(self) -> Weights:
        """The newest that actors may use."""
        with self._saved_on_error():
            return self._system.weights()

    def save(self, replay: bool = False) -> Path:
        """Write a checkpoint, and the replay into the run folder as belonging to it: the checkpoint's folder.

        NotWrittenError when there is no room for either; the run can go on.
        """
        with self._saved_on_error():
            failure = self._save("checkpoint")
        if failure is not None:
            raise failure
        if replay:
            self._system.save_replay()
        assert self._checkpoint is not None
        return self._checkpoint

    def finish(self, reason: str, drawn: bool = True) -> Outcome:
        """The last row, the final checkpoint and evaluation, as the settings say, and the curve, unless not `drawn`.

        Nothing may follow it.
        """
        with self._saved_on_error():
            rested_at = self._system.rest()
            if rested_at > self._counters.updates or time.monotonic() - self._reported_at >= WATCH_S:
                self._report()
        self._console.update(self._row, last=True)
        self._sample_memory()
        self._console.event(f"stopping: {reason}")
        self._system.end_actors()
        failure = self._save("final checkpoint")
        if self._config.saves_replay and failure is None:  # else there is no checkpoint that it belongs to
            self._write("the replay", self._system.save_replay)
        if self._config.evaluation.final and not self._interrupted():
            self._final_evaluation()
            self._console.update(self._row | self._evaluated)
        if drawn:
            self._draw()
        if self._last is not None:
            self._console.event(f"evaluation{self._whose}: last {self._last:z.2f}, best {self._best:z.2f}")
        if failure is not None:
            raise failure
        more = [setting for _, setting in met_before(self._config.stop, self._counters)]
        self.outcome = Outcome(self.folder, reason, self._interrupted(), self._last, self._best, more)
        return self.outcome

    def _draw(self) -> None:
        from apex_ray.report.plots import learning_curve  # matplotlib, which a start need not wait for

        if curve := self._write("the learning curve", lambda: learning_curve(self._run, self._scores_of)):
            self._console.event(f"learning curve {self.folder / curve.name}")
        elif "the learning curve" not in self._not_written:
            self._console.event("no learning curve: no episode has ended yet")
        rows = self._write_episodes()
        plot = self._write("the episodes' picture", lambda: self._reporter.plot(self._run))
        for line in self._reporter.summary(rows, plot):
            self._console.event(line)

    @contextmanager
    def _saved_on_error(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            self._save_before_an_error()
            raise

    def _pass(self, wait_s: float) -> EvaluationResult | None:
        """Let the system work and do what is due but start nothing: the evaluation that has ended, if one has."""
        at_limit = self._system.watch(wait_s)
        now, due = time.monotonic(), self._due
        ended = self._finish_evaluation()
        if due.report.due(now) or at_limit:
            self._report()
        if due.episodes.due(now):
            self._write_episodes()
        if due.memory.due(now):
            self._sample_memory()
        return ended

    def _sample_memory(self) -> None:
        if self._memory is not None:
            self._write("memory.csv", partial(self._memory.sample, self._counters.time_s))

    def _report(self) -> None:
        self._reported_at = time.monotonic()
        row = self._system.row() | self._evaluated
        if self._memory is not None and self._memory.total_bytes:
            row["resident_bytes"] = self._memory.total_bytes
        self._row |= row  # what was not measured since the row before keeps its figure on the console
        self._counters = replace(
            self._counters,
            updates=int(row["updates"]),
            frames=int(row["frames"]),
            episodes=int(row["episodes"]),
            time_s=row["time_s"],
        )
        self._write("the metrics", lambda: self._writer.write(row))
        self._loggers.row(row)
        self._hook("on_row", row)
        if line := self._diagnoses.line(row):
            self._console.event(line)
        self._system.publish(row)
        self._console.update(self._row)

    @property
    def _evaluated(self) -> dict[str, float]:
        """The metrics of the last evaluation, and the best."""
        known = {
            "evaluation_return": self._last,
            "evaluation_best": self._best,
            "evaluation_human_normalised": self._human,
        }
        return {name: value for name, value in known.items() if value is not None}

    def _finish_evaluation(self) -> EvaluationResult | None:
        """The one that has ended, if one has, after it was told and written."""
        result = self._system.poll_evaluation()
        if result is None:
            return None
        if result.whole:
            self._last, self._human = result.mean_return, result.human_normalised
            if self._best is None or self._last > self._best:
                self._best = self._last
                self._loggers.checkpoint(self._run / "checkpoints" / BEST, True)
            self._counters = replace(self._counters, best_return=self._best)
        self._write("the evaluation", lambda: self._writer.evaluation(result, self._counters.time_s))
        if result.not_written:
            self._console.event(f"{result.not_written}; the run goes on")
        human = "" if result.human_normalised is None else f", human-normalised {result.human_normalised:z.0%}"
        self._console.event(
            f"evaluation of update {result.version:,}{self._whose}: mean {result.mean_return:z.2f} of "
            f"{plural(len(result.returns), 'episode')}{human}{'; ' if result.note else ''}{result.note}"
        )
        self._write(
            "the evaluation's episodes",
            lambda: self._reporter.write_evaluation(self._run, result, self._counters.time_s),
        )
        if table := self._reporter.table(result.episode_values):
            self._console.event(table)
        self._loggers.evaluation(result)
        self._hook("on_evaluation", result)
        return result

    def _write_episodes(self) -> list[Any]:
        rows = self._system.episode_rows()
        self._write("the episodes' totals", lambda: self._reporter.write(self._run, rows, vars(self._counters)))
        return rows

    @property
    def _whose(self) -> str:
        return f" on {self._scores_of}" if self._scores_of else ""

    def _final_evaluation(self) -> None:
        limit = self._config.evaluation.max_s
        self._console.event(
            f"final evaluation of {plural(self._config.evaluation.episodes, 'episode')}"
            f"{f', {limit:g} s at most' if limit else ''}; Ctrl-C ends it, the checkpoint is written"
        )
        self._system.abandon_evaluation()  # it judges older weights
        self._wait_for_evaluation()
        if not self._interrupted():
            self._system.start_evaluation(self._counters, self._interrupted)
            self._wait_for_evaluation()
        if self._interrupted():
            self._console.event("final evaluation interrupted (Ctrl-C)")

    def _wait_for_evaluation(self) -> None:
        """After Ctrl-C for some seconds, in which it gives what it has: only its video may be missing."""
        until = math.inf
        while self._system.evaluating and time.monotonic() < until:
            if until == math.inf and self._interrupted():
                self._system.abandon_evaluation()
                until = time.monotonic() + LAST_WORDS_S
            self._finish_evaluation()
            time.sleep(POLL_S)

    def _hook(self, name: str, *given: Any) -> None:
        self._asked = self._hooks.call(name, *given) or self._asked

    def _stop_reason(self) -> str | None:
        if self._interrupted():
            return "asked to (Ctrl-C); a second one stops at once"
        if self._asked:
            return f"{self._asked} asked to"
        return reached(self._config.stop, self._counters, self._last)

    def _save(self, what: str) -> NotWrittenError | None:
        """Why none was written; the next one is tried all the same. Any other error is raised."""
        try:
            path, updates = self._system.save(self._counters)
        except NotWrittenError as error:
            self._console.event(f"no {what}: {error}")
            return error
        self._console.event(f"{what}: {path.relative_to(self._run)} at {plural(updates, 'update')}")
        self._checkpoint = path
        self._loggers.checkpoint(path, False)
        self._hook("on_checkpoint", path)
        return None

    def _save_before_an_error(self) -> None:
        """The error goes on to the user; what was learned is kept when the learner still answers and it is any good."""
        self._hooks = Hooks()  # it may be one of them that raised
        try:
            failure = self._save("checkpoint before stopping on an error")
        except Exception as error:
            print(f"no checkpoint could be written: {type(error).__name__}", file=sys.stderr)
            return
        if isinstance(failure, NotFiniteError):
            try:
                last = (
                    f"; the last one is {find(self._run, 'latest').name}: apex-ray train --resume {shown(self.folder)}"
                )
            except UserError:
                last = ", and none was written before"
            self._console.event(f"what diverged is not saved{last}")

    def _write(self, what: str, write: Callable[[], T]) -> T | None:
        """What `write` returns. A file that can't be written is told once and does not end the run."""
        try:
            written = write()
        except (OSError, NotWrittenError) as error:
            if what not in self._not_written:
                reason = (error.strerror if isinstance(error, OSError) else None) or error
                self._console.event(f"{what} can't be written: {reason}; the run goes on without")
            self._not_written.add(what)
            return None
        self._not_written.discard(what)
        return written
