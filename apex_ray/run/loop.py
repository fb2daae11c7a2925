"""The loop of a run: watches, reports, evaluates and saves until it is time to stop, at its own pace or a caller's."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from apex_ray.config.schema import ApexConfig
from apex_ray.learner.checkpoint import find
from apex_ray.run.due import Due
from apex_ray.run.limits import met_before, reached
from apex_ray.run.system import System
from apex_ray.run.telling import Telling
from apex_ray.types import EvaluationResult, Weights
from trainkit.errors import NotWrittenError, UserError
from trainkit.storage import shown
from trainkit.tensor_files import NotFiniteError
from trainkit.words import plural

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

    def __init__(self, config: ApexConfig, system: System, telling: Telling, interrupted: Callable[[], bool]) -> None:
        self.folder = telling.folder
        self.outcome: Outcome | None = None  # set by `finish`
        self._config, self._system, self._telling, self._interrupted = config, system, telling, interrupted
        self._checkpoint: Path | None = None  # the last that was written
        self._counters = replace(system.counters, generation=system.counters.generation + 1)
        self._best = system.counters.best_return
        self._last: float | None = None
        self._human: float | None = None
        self._reported_at = -math.inf
        self._due = Due(config, time.monotonic())

    def say(self, text: str) -> None:
        """Show a line that stays."""
        self._telling.event(text)

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
                self._telling.try_to("the replay", self._system.start_snapshot)
            return self._stop_reason()

    def report(self) -> dict[str, float]:
        """The metrics of now by name, written and shown as a row."""
        with self._saved_on_error():
            self._report()
        return dict(self._telling.row)

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
        self._telling.show({}, last=True)
        self._telling.sample_memory(self._counters.time_s)
        self._telling.event(f"stopping: {reason}")
        self._system.end_actors()
        failure = self._save("final checkpoint")
        if self._config.saves_replay and failure is None:  # else there is no checkpoint that it belongs to
            self._telling.try_to("the replay", self._system.save_replay)
        if self._config.evaluation.final and not self._interrupted():
            self._final_evaluation()
            self._telling.show(self._evaluated)
        if drawn:
            rows = self._system.episode_rows()
            self._telling.write_episodes(rows, self._counters)
            self._telling.draw(rows)
        if self._last is not None and self._best is not None:
            self._telling.tell_scores(self._last, self._best)
        if failure is not None:
            raise failure
        more = [setting for _, setting in met_before(self._config.stop, self._counters)]
        self.outcome = Outcome(self.folder, reason, self._interrupted(), self._last, self._best, more)
        return self.outcome

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
            self._telling.write_episodes(self._system.episode_rows(), self._counters)
        if due.memory.due(now):
            self._telling.sample_memory(self._counters.time_s)
        return ended

    def _report(self) -> None:
        self._reported_at = time.monotonic()
        row = self._system.row() | self._evaluated
        self._counters = replace(
            self._counters,
            updates=int(row["updates"]),
            frames=int(row["frames"]),
            episodes=int(row["episodes"]),
            time_s=row["time_s"],
        )
        self._telling.tell_row(row)
        self._system.publish(row)

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
                self._telling.tell_best()
            self._counters = replace(self._counters, best_return=self._best)
        self._telling.tell_evaluation(result, self._counters.time_s)
        return result

    def _final_evaluation(self) -> None:
        limit = self._config.evaluation.max_s
        self._telling.event(
            f"final evaluation of {plural(self._config.evaluation.episodes, 'episode')}"
            f"{f', {limit:g} s at most' if limit else ''}; Ctrl-C ends it, the checkpoint is written"
        )
        self._system.abandon_evaluation()  # it judges older weights
        self._wait_for_evaluation()
        if not self._interrupted():
            self._system.start_evaluation(self._counters, self._interrupted)
            self._wait_for_evaluation()
        if self._interrupted():
            self._telling.event("final evaluation interrupted (Ctrl-C)")

    def _wait_for_evaluation(self) -> None:
        """After Ctrl-C for some seconds, in which it gives what it has: only its video may be missing."""
        until = math.inf
        while self._system.evaluating and time.monotonic() < until:
            if until == math.inf and self._interrupted():
                self._system.abandon_evaluation()
                until = time.monotonic() + LAST_WORDS_S
            self._finish_evaluation()
            time.sleep(POLL_S)

    def _stop_reason(self) -> str | None:
        if self._interrupted():
            return "asked to (Ctrl-C); a second one stops at once"
        if self._telling.asked:
            return f"{self._telling.asked} asked to"
        return reached(self._config.stop, self._counters, self._last)

    def _save(self, what: str) -> NotWrittenError | None:
        """Why none was written; the next one is tried all the same. Any other error is raised."""
        try:
            path, updates = self._system.save(self._counters)
        except NotWrittenError as error:
            self._telling.event(f"no {what}: {error}")
            return error
        self._checkpoint = path
        self._telling.tell_checkpoint(what, path, updates)
        return None

    def _save_before_an_error(self) -> None:
        """The error goes on to the user; what was learned is kept when the learner still answers and it is any good."""
        self._telling.unhook()  # it may be a hook that raised
        try:
            failure = self._save("checkpoint before stopping on an error")
        except Exception as error:
            print(f"no checkpoint could be written: {type(error).__name__}", file=sys.stderr)
            return
        if isinstance(failure, NotFiniteError):
            try:
                newest = find(self._telling.run, "latest").name
                last = f"; the last one is {newest}: apex-ray train --resume {shown(self.folder)}"
            except UserError:
                last = ", and none was written before"
            self._telling.event(f"what diverged is not saved{last}")
