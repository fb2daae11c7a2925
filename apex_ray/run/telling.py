"""What a run tells, and where: rows, evaluations, checkpoints to the console, files, loggers and the caller's hooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from apex_ray.config.schema import ApexConfig
from apex_ray.learner.checkpoint import BEST
from apex_ray.report.console import Console
from apex_ray.report.diagnosis import Diagnoses
from apex_ray.report.episodes import reporter_named
from apex_ray.report.loggers import Loggers
from apex_ray.report.process_memory import MemoryLog
from apex_ray.report.writer import MetricsWriter
from apex_ray.run.hooks import Hooks
from apex_ray.types import Counters, EnvSpec, EvaluationResult
from trainkit.errors import NotWrittenError
from trainkit.words import plural

T = TypeVar("T")


class Telling:
    """Where a run's figures go. A file that can't be written is told once, and does not end the run."""

    def __init__(
        self,
        config: ApexConfig,
        spec: EnvSpec,
        folder: Path,
        run: Path,
        console: Console,
        writer: MetricsWriter,
        loggers: Loggers,
        hooks: Hooks,
        here: bool,
    ) -> None:
        """`run` is the whole path of `folder`, which the user knows the run by; `here`: all its processes are."""
        self.folder, self.run = folder, run
        self.asked = ""  # the hook that asked for the end
        self.row: dict[str, float] = {}  # the last figure of each name
        self._console, self._writer, self._loggers, self._hooks = console, writer, loggers, hooks
        self._reporter, self._scores_of = reporter_named(spec.reporter, spec.scores_of), spec.scores_of
        self._whose = f" on {spec.scores_of}" if spec.scores_of else ""
        self._diagnoses = Diagnoses(config)
        self._memory = MemoryLog(run / "memory.csv") if here else None
        self._not_written: set[str] = set()  # what the disk has no room for, as far as was told

    def event(self, text: str) -> None:
        """A line that stays."""
        self._console.event(text)

    def show(self, figures: dict[str, float], last: bool = False) -> None:
        """The last row on the console, with `figures` too; `last`: it stays there."""
        self._console.update(self.row | figures, last=last)

    def tell_row(self, row: dict[str, float]) -> None:
        """Write, log and show the metrics by name; what the run's processes hold is added to `row`."""
        if self._memory is not None and self._memory.total_bytes:
            row["resident_bytes"] = self._memory.total_bytes
        self.row |= row  # what was not measured since the row before keeps its figure on the console
        self.try_to("the metrics", lambda: self._writer.write(row))
        self._loggers.row(row)
        self._hook("on_row", row)
        if line := self._diagnoses.line(row):
            self.event(line)
        self._console.update(self.row)

    def tell_evaluation(self, result: EvaluationResult, time_s: float) -> None:
        self.try_to("the evaluation", lambda: self._writer.evaluation(result, time_s))
        if result.not_written:
            self.event(f"{result.not_written}; the run goes on")
        human = "" if result.human_normalised is None else f", human-normalised {result.human_normalised:z.0%}"
        self.event(
            f"evaluation of update {result.version:,}{self._whose}: mean {result.mean_return:z.2f} of "
            f"{plural(len(result.returns), 'episode')}{human}{'; ' if result.note else ''}{result.note}"
        )
        self.try_to("the evaluation's episodes", lambda: self._reporter.write_evaluation(self.run, result, time_s))
        if table := self._reporter.table(result.episode_values):
            self.event(table)
        self._loggers.evaluation(result)
        self._hook("on_evaluation", result)

    def tell_best(self) -> None:
        """The best weights are others now."""
        self._loggers.checkpoint(self.run / "checkpoints" / BEST, True)

    def tell_checkpoint(self, what: str, path: Path, updates: int) -> None:
        self.event(f"{what}: {path.relative_to(self.run)} at {plural(updates, 'update')}")
        self._loggers.checkpoint(path, False)
        self._hook("on_checkpoint", path)

    def write_episodes(self, rows: Sequence[Any], counters: Counters) -> None:
        """What the environment's own reporter keeps of the run's episodes."""
        self.try_to("the episodes' totals", lambda: self._reporter.write(self.run, rows, vars(counters)))

    def sample_memory(self, time_s: float) -> None:
        if self._memory is not None:
            self.try_to("memory.csv", partial(self._memory.sample, time_s))

    def draw(self, rows: Sequence[Any]) -> None:
        """The learning curve, and the picture of the environment's own reporter."""
        from apex_ray.report.plots import learning_curve  # matplotlib, which a start need not wait for

        if curve := self.try_to("the learning curve", lambda: learning_curve(self.run, self._scores_of)):
            self.event(f"learning curve {self.folder / curve.name}")
        elif "the learning curve" not in self._not_written:
            self.event("no learning curve: no episode has ended yet")
        plot = self.try_to("the episodes' picture", lambda: self._reporter.plot(self.run))
        for line in self._reporter.summary(rows, plot):
            self.event(line)

    def tell_scores(self, last: float, best: float) -> None:
        self.event(f"evaluation{self._whose}: last {last:z.2f}, best {best:z.2f}")

    def try_to(self, what: str, write: Callable[[], T]) -> T | None:
        """What `write` returns; None where the file can't be written."""
        try:
            written = write()
        except (OSError, NotWrittenError) as error:
            if what not in self._not_written:
                reason = (error.strerror if isinstance(error, OSError) else None) or error
                self.event(f"{what} can't be written: {reason}; the run goes on without")
            self._not_written.add(what)
            return None
        self._not_written.discard(what)
        return written

    def unhook(self) -> None:
        """Hooks are called no more: one of them may have raised."""
        self._hooks = Hooks()

    def _hook(self, name: str, *given: Any) -> None:
        self.asked = self._hooks.call(name, *given) or self.asked
