"""A training run from start to stop: the loop that watches, reports, evaluates and saves, on Ray or in one process."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from apex_ray import preflight
from apex_ray.config.load import TRAINER
from apex_ray.config.schema import ApexConfig
from apex_ray.envs.make import probe
from apex_ray.learner.checkpoint import Counters
from apex_ray.report.console import Console
from apex_ray.report.metrics import MetricsWriter
from apex_ray.report.plots import learning_curve
from apex_ray.report.process_memory import MemoryLog
from apex_ray.report.stages import StageLog, StageRow, by_stage, progress_plot, table
from apex_ray.sizes import Sizes, resolve_sizes
from apex_ray.types import EnvSpec, EvaluationResult
from cluster.command_line import program
from cluster.config import to_yaml
from cluster.interrupts import asked_to_stop
from cluster.run_record import record_start
from cluster.runs import create_run
from cluster.words import plural, size

WATCH_S = 1.0
MEMORY_EVERY_S = 10.0
STAGES_EVERY_S = 30.0


class System(Protocol):
    """What runs: nodes.program.Program on Ray or serial.SerialProgram in this process."""

    counters: Counters  # where it started from

    def start(self, resume: bool) -> None: ...
    def watch(self, timeout_s: float) -> None: ...
    def row(self) -> dict[str, float]: ...
    def stages(self) -> list[StageRow]: ...
    def publish(self, row: Mapping[str, float]) -> None: ...
    def start_evaluation(self, counters: Counters) -> None: ...
    def poll_evaluation(self) -> EvaluationResult | None: ...
    @property
    def evaluating(self) -> bool: ...
    def stop_actors(self) -> None: ...
    def save(self, counters: Counters) -> tuple[Path, int]: ...
    def save_replay(self) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    run: Path  # its folder
    reason: str
    interrupted: bool  # by Ctrl-C or SIGTERM
    last_return: float | None  # mean of the last evaluation, unclipped
    best_return: float | None  # of the best


def train(config: ApexConfig, run: Path | None = None, resume: bool = False) -> Outcome:
    """Train until a limit of `config.stop`, Ctrl-C or an error.

    Args:
        config: all settings.
        run: the run folder; None makes a new one under `config.runs_dir`.
        resume: go on from the newest checkpoint in `run`.

    Raises UserError for everything a user can mend, after saving what can be saved. What can be found out before Ray
    starts is.

    """
    spec = probe(config.env)
    with _place(config, spec, run if resume else None) as place:
        if run is None:
            run = create_run(config.runs_dir, config.name, to_yaml(config))
        record_start(run, TRAINER)
        sizes, title = place.sizes, f"{config.name}: {config.env.id}"
        if spec.scores_of:
            title += f", played on {spec.scores_of}: its scores say nothing of the real game"
        with Console(title, config) as console:
            few = "" if sizes.min_actors == sizes.actors else f"{sizes.min_actors} to "
            console.event(
                f"{few}{plural(sizes.actors, 'actor')} x {plural(config.actors.envs_per_actor, 'environment')}, "
                f"learner on {plural(sizes.learner_threads, 'thread')}, replay up to {size(sizes.replay_bytes)}"
            )
            console.event(f"run folder {run}")
            dashboard = f"; dashboard http://{place.dashboard}" if place.dashboard else ""
            console.event(f"watch with {program('tensorboard')} --logdir {run.parent}{dashboard}")
            if place.note:
                console.event(place.note)
            system = place.build(run, console.event)
            system.start(resume)
            with asked_to_stop() as interrupted, MetricsWriter(run, resume) as writer:
                return Run(config, spec, run, system, console, writer, interrupted, place.here).until_stopped()


@dataclass(frozen=True)
class _Place:
    """Where a run is going to be: its sizes there, and how to build it."""

    sizes: Sizes
    build: Callable[[Path, Callable[[str], None]], System]
    here: bool  # all processes on this machine
    dashboard: str | None = None  # host:port of Ray's
    note: str = ""


@contextmanager
def _place(config: ApexConfig, spec: EnvSpec, resume_from: Path | None) -> Iterator[_Place]:
    def sized(cores: int | None) -> Sizes:
        """Everything that can be found out before a process starts; None: of this machine."""
        sizes = resolve_sizes(config, spec, cores)
        preflight.check(config, spec, sizes, resume_from, here=cores is None)
        return sizes

    if config.mode == "serial":
        from apex_ray.serial import SerialProgram

        sizes = sized(None)
        yield _Place(sizes, lambda run, on_event: SerialProgram(config, spec, sizes, run), here=True)
        return
    from apex_ray.nodes.connection import joined
    from apex_ray.nodes.program import Program

    with joined(config, sized) as site:
        yield _Place(
            site.sizes,
            lambda run, on_event: Program(config, spec, site, run.absolute(), on_event),
            here=site.embedded,
            dashboard=site.dashboard,
            note=site.note,
        )


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
        interrupted: Callable[[], bool],
        here: bool,
    ) -> None:
        self._config, self._run, self._system = config, run, system
        self._console, self._writer, self._interrupted = console, writer, interrupted
        self._counters = replace(system.counters, generation=system.counters.generation + 1)
        self._best = system.counters.best_return
        self._last: float | None = None
        self._human: float | None = None
        self._row: dict[str, float] = {}  # the last one
        self._reported_at = -math.inf
        self._memory = MemoryLog(run / "memory.csv") if here else None
        self._stages, self._scores_of = StageLog(run, spec.scores_of), spec.scores_of

    def until_stopped(self) -> Outcome:
        try:
            reason = self._loop()
        except Exception:
            # The error goes on to the user; what was learned is kept when the learner still answers.
            self._save("saved before stopping on an error", quiet=True)
            raise
        if time.monotonic() - self._reported_at >= WATCH_S:
            self._report()
        self._console.update(self._row, last=True)
        self._sample_memory()
        self._console.event(f"stopping: {reason}")
        self._system.stop_actors()
        self._save("final checkpoint")
        if self._config.checkpoint.replay:
            self._system.save_replay()
        if self._config.evaluation.final and not self._interrupted():
            self._final_evaluation()
            self._console.update(self._row | self._evaluated)
        curve = learning_curve(self._run, self._scores_of)
        self._console.event(f"learning curve {curve}" if curve else "no learning curve: no episode has ended yet")
        if rows := self._write_stages():
            self._console.event(f"stages {progress_plot(self._run, self._scores_of)}; training episodes, all epsilons:")
            self._console.event(table(rows, self._scores_of))
        if self._last is not None:
            self._console.event(f"evaluation{self._whose}: last {self._last:z.2f}, best {self._best:z.2f}")
        return Outcome(self._run, reason, self._interrupted(), self._last, self._best)

    def _loop(self) -> str:
        config, now = self._config, time.monotonic()
        report, memory = _Every(config.report.every_s, now), _Every(MEMORY_EVERY_S, now)
        stages = _Every(STAGES_EVERY_S, now)
        evaluate, checkpoint = _Every(config.evaluation.every_s, now), _Every(config.checkpoint.every_s, now)
        while True:
            self._system.watch(WATCH_S)
            now = time.monotonic()
            self._finish_evaluation()
            if report.due(now):
                self._report()
            if stages.due(now):
                self._write_stages()
            if memory.due(now):
                self._sample_memory()
            if self._counters.updates and evaluate.due(now):
                self._system.start_evaluation(self._counters)
            if checkpoint.due(now):
                self._save("checkpoint")
            if reason := self._stop_reason():
                return reason

    def _sample_memory(self) -> None:
        if self._memory is not None:
            self._memory.sample(self._counters.time_s)

    def _report(self) -> None:
        self._reported_at = time.monotonic()
        row = self._system.row() | self._evaluated
        self._row |= row  # what was not measured since the row before keeps its figure on the console
        if self._memory is not None and self._memory.total_bytes:
            row["resident_bytes"] = self._memory.total_bytes
        self._counters = replace(
            self._counters,
            updates=int(row["updates"]),
            frames=int(row["frames"]),
            episodes=int(row["episodes"]),
            time_s=row["time_s"],
        )
        self._writer.write(row)
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
        self._last, self._human = result.mean_return, result.human_normalised
        if self._best is None or self._last > self._best:
            self._best = self._last
        self._counters = replace(self._counters, best_return=self._best)
        self._writer.evaluation(result, self._counters.time_s)
        human = "" if result.human_normalised is None else f", human-normalised {result.human_normalised:z.0%}"
        self._console.event(
            f"evaluation of update {result.version:,}{self._whose}: mean {self._last:z.2f} of "
            f"{plural(len(result.returns), 'episode')}{human}"
        )
        if result.stages:
            self._stages.evaluation(result, self._counters.time_s)
            self._console.event(table(by_stage(result.stages), result.scores_of))

    def _write_stages(self) -> list[StageRow]:
        rows = self._system.stages()
        self._stages.training(rows, vars(self._counters))
        return rows

    @property
    def _whose(self) -> str:
        return f" on {self._scores_of}" if self._scores_of else ""

    def _final_evaluation(self) -> None:
        while self._system.evaluating:  # one that is under way judges older weights
            self._finish_evaluation()
            time.sleep(0.05)
        self._system.start_evaluation(self._counters)
        while self._system.evaluating and not self._interrupted():
            self._finish_evaluation()
            time.sleep(0.05)

    def _stop_reason(self) -> str | None:
        stop, c = self._config.stop, self._counters
        if self._interrupted():
            return "asked to (Ctrl-C); a second one stops at once"
        if stop.after_s is not None and c.time_s >= stop.after_s:
            return f"stop.after_s = {stop.after_s:g}"
        if stop.after_frames is not None and c.frames >= stop.after_frames:
            return f"stop.after_frames = {stop.after_frames:,}"
        if stop.after_updates is not None and c.updates >= stop.after_updates:
            return f"stop.after_updates = {stop.after_updates:,}"
        if stop.evaluation_return is not None and self._last is not None and self._last >= stop.evaluation_return:
            return f"an evaluation reached {self._last:.2f} (stop.evaluation_return = {stop.evaluation_return:g})"
        return None

    def _save(self, what: str, quiet: bool = False) -> None:
        try:
            path, updates = self._system.save(self._counters)
        except Exception as error:
            if not quiet:
                raise
            print(f"no checkpoint could be written: {type(error).__name__}", file=sys.stderr)
            return
        self._console.event(
            f"{what}: {path.absolute().relative_to(self._run.absolute())} at {plural(updates, 'update')}"
        )
