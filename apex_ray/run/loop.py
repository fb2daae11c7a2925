"""The loop of a run: watches, reports, evaluates and saves until it is time to stop."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from apex_ray.config.schema import ApexConfig
from apex_ray.learner.checkpoint import BEST, find
from apex_ray.report.console import Console
from apex_ray.report.episodes import reporter_named
from apex_ray.report.loggers import Loggers
from apex_ray.report.plots import learning_curve
from apex_ray.report.process_memory import MemoryLog
from apex_ray.report.writer import MetricsWriter
from apex_ray.run.hooks import Hooks
from apex_ray.run.system import System
from apex_ray.types import EnvSpec
from trainkit.errors import NotWrittenError, UserError
from trainkit.tensor_files import NotFiniteError
from trainkit.words import plural

T = TypeVar("T")

WATCH_S = 1.0
MEMORY_EVERY_S = 10.0
EPISODES_EVERY_S = 30.0


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    run: Path  # its folder
    reason: str
    interrupted: bool  # by Ctrl-C or SIGTERM
    last_return: float | None  # mean of the last evaluation, unclipped
    best_return: float | None  # of the best


@dataclass
class _Every:
    """True once per `seconds`, first after one such span."""

    seconds: float
    at: float = 0.0

    def due(self, now: float) -> bool:
        if now - self.at < self.seconds:
            return False
        self.at = now
        return True


class Run:
    """One run's bookkeeping around a system."""

    def __init__(
        self,
        config: ApexConfig,
        spec: EnvSpec,
        run: Path,
        system: System,
        console: Console,
        writer: MetricsWriter,
        loggers: Loggers,
        hooks: Hooks,
        interrupted: Callable[[], bool],
        here: bool,
    ) -> None:
        self._config, self._run, self._system = config, run, system
        self._console, self._writer, self._interrupted = console, writer, interrupted
        self._loggers, self._hooks = loggers, hooks
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

    def until_stopped(self) -> Outcome:
        try:
            reason = self._loop()
            if time.monotonic() - self._reported_at >= WATCH_S:
                self._report()
        except Exception:
            self._save_before_an_error()
            raise
        self._console.update(self._row, last=True)
        self._sample_memory()
        self._console.event(f"stopping: {reason}")
        self._system.stop_actors()
        failure = self._save("final checkpoint")
        if self._config.saves_replay and failure is None:  # else there is no checkpoint that it belongs to
            self._write("the replay", self._system.save_replay)
        if self._config.evaluation.final and not self._interrupted():
            self._final_evaluation()
            self._console.update(self._row | self._evaluated)
        if curve := self._write("the learning curve", lambda: learning_curve(self._run, self._scores_of)):
            self._console.event(f"learning curve {curve}")
        elif "the learning curve" not in self._not_written:
            self._console.event("no learning curve: no episode has ended yet")
        rows = self._write_episodes()
        plot = self._write("the episodes' picture", lambda: self._reporter.plot(self._run))
        for line in self._reporter.summary(rows, plot):
            self._console.event(line)
        if self._last is not None:
            self._console.event(f"evaluation{self._whose}: last {self._last:z.2f}, best {self._best:z.2f}")
        if failure is not None:
            raise failure
        return Outcome(self._run, reason, self._interrupted(), self._last, self._best)

    def _loop(self) -> str:
        config, now = self._config, time.monotonic()
        report, memory = _Every(config.report.every_s, now), _Every(MEMORY_EVERY_S, now)
        episodes = _Every(EPISODES_EVERY_S, now)
        evaluate, checkpoint = _Every(config.evaluation.every_s, now), _Every(config.checkpoint.every_s, now)
        while True:
            at_limit = self._system.watch(WATCH_S)
            now = time.monotonic()
            self._finish_evaluation()
            if report.due(now) or at_limit:
                self._report()
            if episodes.due(now):
                self._write_episodes()
            if memory.due(now):
                self._sample_memory()
            if self._counters.updates and evaluate.due(now):
                self._system.start_evaluation(self._counters, self._interrupted)
            if checkpoint.due(now):
                self._save("checkpoint")
            if reason := self._stop_reason():
                return reason

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

    def _finish_evaluation(self) -> None:
        result = self._system.poll_evaluation()
        if result is None:
            return
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
            f"final evaluation of {self._config.evaluation.episodes} episodes"
            f"{f', {limit:g} s at most' if limit else ''}; Ctrl-C ends it, the checkpoint is written"
        )
        self._wait_for_evaluation()  # one that is under way judges older weights
        if not self._interrupted():
            self._system.start_evaluation(self._counters, self._interrupted)
            self._wait_for_evaluation()
        if self._interrupted():
            self._console.event("final evaluation interrupted (Ctrl-C)")

    def _wait_for_evaluation(self) -> None:
        while self._system.evaluating and not self._interrupted():
            self._finish_evaluation()
            time.sleep(0.05)

    def _hook(self, name: str, *given: Any) -> None:
        self._asked = self._hooks.call(name, *given) or self._asked

    def _stop_reason(self) -> str | None:
        stop, c = self._config.stop, self._counters
        if self._interrupted():
            return "asked to (Ctrl-C); a second one stops at once"
        if self._asked:
            return f"{self._asked} asked to"
        if stop.after_s is not None and c.time_s >= stop.after_s:
            return f"stop.after_s = {stop.after_s:,.12g}"
        if stop.after_frames is not None and c.frames >= stop.after_frames:
            return f"stop.after_frames = {stop.after_frames:,}"
        if stop.after_updates is not None and c.updates >= stop.after_updates:
            return f"stop.after_updates = {stop.after_updates:,}"
        if stop.evaluation_return is not None and self._last is not None and self._last >= stop.evaluation_return:
            return f"an evaluation reached {self._last:.2f} (stop.evaluation_return = {stop.evaluation_return:g})"
        return None

    def _save(self, what: str) -> NotWrittenError | None:
        """Why none was written; the next one is tried all the same. Any other error is raised."""
        try:
            path, updates = self._system.save(self._counters)
        except NotWrittenError as error:
            self._console.event(f"no {what}: {error}")
            return error
        self._console.event(
            f"{what}: {path.absolute().relative_to(self._run.absolute())} at {plural(updates, 'update')}"
        )
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
                last = f"; the last one is {find(self._run, 'latest').name}: apex-ray train --resume {self._run}"
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
