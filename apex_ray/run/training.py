"""A training run from settings to outcome, on Ray or in one process: whole, or driven by a caller step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apex_ray.config.load import TRAINER
from apex_ray.config.schema import ApexConfig
from apex_ray.envs.make import probe
from apex_ray.envs.watchdog import leave_hanging
from apex_ray.evaluation import check_evaluation_env
from apex_ray.learner.warm_start import WarmStart, read_warm_start
from apex_ray.report.console import Console
from apex_ray.report.episodes import reporter_named
from apex_ray.report.loggers import Loggers, check_loggers
from apex_ray.report.writer import MetricsWriter
from apex_ray.run import preflight
from apex_ray.run.hooks import Hooks
from apex_ray.run.loop import Outcome, Run
from apex_ray.run.own_parts import with_own_parts
from apex_ray.run.resume import Resume, prepare_resume
from apex_ray.run.system import System
from apex_ray.site import Site
from apex_ray.sizes import Sizes, resolve_sizes
from apex_ray.types import EnvSpec, EvaluationResult
from trainkit.command_line import program
from trainkit.config import to_yaml
from trainkit.errors import UserError
from trainkit.interrupts import stop_requested
from trainkit.run_record import FINISHED, INTERRUPTED, recorded
from trainkit.runs import create_run
from trainkit.words import plural, size


def train(
    config: ApexConfig,
    run: Path | None = None,
    resume: bool = False,
    *,
    on_row: Callable[[Mapping[str, float]], Any] | None = None,
    on_evaluation: Callable[[EvaluationResult], Any] | None = None,
    on_checkpoint: Callable[[Path], Any] | None = None,
    **own: Callable[..., Any] | str,
) -> Outcome:
    """Train until a limit of `config.stop`, Ctrl-C or an error.

    Args:
        config: all settings.
        run: the run folder; None makes a new one under `config.runs_dir`.
        resume: go on from the newest checkpoint in `run` that can be used; `config` may differ from the run's own in
            what config/resume.py lets change.
        on_row: called with the metrics by name, each time that a row is written.
        on_evaluation: called with each evaluation.
        on_checkpoint: called with each checkpoint's folder. These three are called in this process; one that returns
            a true value ends the run as a limit of `config.stop` does, one that raises ends it with its error.
        own: your own parts, importable functions or classes, or their names as package.module:name: `make_env` (called
            with env.kwargs, gives a gymnasium.Env), `agent`, `objective`, `torso` (agent/registry.py says what these
            are called with). They stand for the settings env.make, agent, td.objective and network.torso.

    Raises UserError for everything a user can mend, after saving what can be saved. What can be found out before Ray
    starts is.

    """
    hooks = Hooks(on_row, on_evaluation, on_checkpoint)
    with running(prepare(config, run, resume, own), hooks, stop_requested(leave_hanging)) as loop:
        return loop.until_stopped()


@dataclass(frozen=True)
class Prepared:
    """A run of which everything was looked at that can be before Ray is there."""

    config: ApexConfig  # with what of it this machine can do
    settings: str  # as they were given, YAML: what this machine can't draw, another may
    spec: EnvSpec
    run: Path | None  # the folder; None: a new one, made when the run starts
    going_on: Resume | None
    warm: WarmStart | None

    def sized(self, cores: int | None) -> Sizes:
        """How large its parts are on a cluster with so many cores; None: on this machine. UserError if too large."""
        sizes = resolve_sizes(self.config, self.spec, cores)
        saved = self.going_on.saved if self.going_on else None
        preflight.check(self.config, self.spec, sizes, saved, here=cores is None)
        return sizes


def prepare(
    config: ApexConfig, run: Path | None, resume: bool, own: Mapping[str, Callable[..., Any] | str]
) -> Prepared:
    """What `running` starts, of the arguments of `train`. UserError for every mistake that shows already."""
    if resume and run is None:
        raise UserError("train: resume = True, but run is None; expected the folder of the run to go on with")
    config = with_own_parts(config, own)
    going_on = prepare_resume(run, config) if resume and run is not None else None
    spec = probe(config.env, pictures=config.evaluation.video)
    # Read here: a folder that this machine sees, the one that learns need not see.
    warm = None if resume else read_warm_start(config, spec)
    if warm:  # kept by its whole path: what `latest` or `best` is changes
        learner = config.learner.model_copy(update={"init_from": str(warm.source)})
        config = config.model_copy(update={"learner": learner})
    settings = to_yaml(config)
    if not spec.draws:
        config = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"video": False})})
    reporter_named(spec.reporter)  # refused here rather than by a part
    check_loggers(config)
    check_evaluation_env(config, spec)
    return Prepared(config, settings, spec, run, going_on, warm)


@contextmanager
def running(
    prepared: Prepared,
    hooks: Hooks,
    interrupts: AbstractContextManager[Callable[[], bool]] | None = None,
    table: bool | None = None,
) -> Iterator[Run]:
    """The run, all its parts started, to be driven to its `finish` by the block; they end with the block.

    `interrupts` is entered when the parts have started, and yields what the run asks for Ctrl-C; None: it does not ask.
    `table`: whether the console is a live table; None: where there is a terminal.
    """
    config, spec, going_on, warm = prepared.config, prepared.spec, prepared.going_on, prepared.warm
    with _joined(config, prepared.sized) as site:
        folder, resume = (
            prepared.run or create_run(config.runs_dir, config.name, prepared.settings),
            going_on is not None,
        )
        run = folder.absolute()  # environments may change the current folder
        sizes, title = site.sizes, f"{config.name}: {config.env.id}"
        if spec.scores_of:
            title += f", played on {spec.scores_of}: its scores say nothing of the real game"
        with (
            recorded(run, TRAINER) as ended,
            Console(title, config, is_terminal=table) as console,
            ExitStack() as stack,
        ):
            few = "" if sizes.min_actors == sizes.actors else f"{sizes.min_actors} to "
            console.event(
                f"{few}{plural(sizes.actors, 'actor')} x {plural(config.actors.envs_per_actor, 'environment')}, "
                f"learner on {plural(sizes.learner_threads, 'thread')}, replay up to {size(sizes.replay_bytes)}"
            )
            console.event(f"run folder {folder}")
            dashboard = f"; dashboard http://{site.dashboard}" if site.dashboard else ""
            console.event(f"watch with {program('tensorboard')} --logdir {folder.parent}{dashboard}")
            for note in (*spec.notes, site.note, warm.summary if warm else "", *(going_on.begin() if going_on else ())):
                if note:
                    console.event(note)
            loggers = stack.enter_context(Loggers(config, run, resume, console.event))
            system = _system(config, spec, site, run, console.event)
            system.start(resume, warm.params if warm else None)
            stack.callback(system.let_go)
            if going_on:
                going_on.keep_settings()
            with interrupts or nullcontext(_never) as interrupted, MetricsWriter(run, resume) as writer:
                loop = Run(config, spec, folder, run, system, console, writer, loggers, hooks, interrupted, site.here)
                yield loop
            if outcome := loop.outcome:
                ended(INTERRUPTED if outcome.interrupted else FINISHED, outcome.reason)


def _never() -> bool:
    return False


@contextmanager
def _joined(config: ApexConfig, sized: Callable[[int | None], Sizes]) -> Iterator[Site]:
    if config.mode == "serial":
        yield Site(sized(None), here=True)
        return
    from apex_ray.nodes.connection import joined

    with joined(config, sized) as site:
        yield site


def _system(config: ApexConfig, spec: EnvSpec, site: Site, run: Path, say: Callable[[str], None]) -> System:
    if config.mode == "serial":
        from apex_ray.serial.program import SerialProgram

        return SerialProgram(config, spec, site.sizes, run, say)
    from apex_ray.nodes.program import Program

    return Program(config, spec, site, run, say)
