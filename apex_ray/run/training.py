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
from apex_ray.learner.checkpoint import has_checkpoint
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
from apex_ray.run.telling import Telling
from apex_ray.run_files import ALL, DRIVER, RunPlace
from apex_ray.site import Site
from apex_ray.sizes import Sizes, resolve_sizes
from apex_ray.types import EnvSpec, EvaluationResult
from trainkit.command_line import program
from trainkit.config import to_yaml
from trainkit.errors import UserError, os_errors
from trainkit.fetching import Share, mark_newest
from trainkit.interrupts import stop_requested
from trainkit.run_layout import CONFIG_FILE, RECORD_FILE, read_record, start_ids
from trainkit.run_record import FINISHED, INTERRUPTED, recorded
from trainkit.runs import create_run, open_run, uri_of_runs
from trainkit.sending import Sender, fetch_share, not_sent, sender_of
from trainkit.storage import check, kept_at, shown, uri_of
from trainkit.words import Say, plural, size


def train(
    config: ApexConfig,
    run: Path | str | None = None,
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
        run: the run folder, or with `resume` its URI; None makes a new one under `config.runs_dir`.
        resume: go on from the newest checkpoint in `run` that can be used; `config` may differ from the run's own in
            what config/resume.py lets change.
        on_row: called with the metrics by name, each time that a row is written.
        on_evaluation: called with each evaluation.
        on_checkpoint: called with each checkpoint's folder. These three are called in this process; one that returns
            a true value ends the run as a limit of `config.stop` does, one that raises ends it with its error.
        own: your own parts, importable functions or classes, or their names as package.module:name: `make_env` (called
            with env.kwargs, gives a gymnasium.Env), `agent`, `objective`, `torso` (agent/registry.py says what these
            are called with). They stand for the settings env.make, agent, td.objective and network.torso.

    Raises UserError for everything a user can correct, after saving what can be saved. What can be found out before Ray
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
    config: ApexConfig, run: Path | str | None, resume: bool, own: Mapping[str, Callable[..., Any] | str]
) -> Prepared:
    """What `running` starts, of the arguments of `train`. UserError for every mistake that shows already."""
    if resume and run is None:
        raise UserError("train: resume = True, but run is None; expected the folder of the run to go on with")
    config, run = with_own_parts(config, own), _folder(run, resume)
    if uri := _uri_of_runs(config) if run is None else kept_at(run):
        check(uri, "runs_dir" if run is None else "the run's URI")
    going_on = prepare_resume(run, config) if resume and run is not None else None
    spec = probe(config.env, pictures=config.evaluation.video)
    # Read here: a folder that this machine sees, the one that learns need not see.
    warm = None if resume else read_warm_start(config, spec)
    if warm:  # kept by its whole path: what `latest` or `best` is changes
        learner = config.learner.model_copy(update={"init_from": warm.source})
        config = config.model_copy(update={"learner": learner})
    settings = to_yaml(config)
    if not spec.draws:
        config = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"video": False})})
    reporter_named(spec.reporter)  # refused here rather than by a part
    check_loggers(config)
    check_evaluation_env(config, spec)
    return Prepared(config, settings, spec, run, going_on, warm)


def _learner_in_words(config: ApexConfig, sizes: Sizes) -> str:
    threads, workers = plural(sizes.learner_threads, "thread"), config.learner.workers
    return threads if workers == 1 else f"{workers} workers with {threads} each"


def _uri_of_runs(config: ApexConfig) -> str | None:
    try:
        return uri_of_runs(config.runs_dir)
    except UserError as error:
        raise UserError(f"runs_dir: {error}") from None


def _folder(run: Path | str | None, resume: bool) -> Path | None:
    if run is None or uri_of(run) is None:
        return None if run is None else Path(run)
    if not resume:
        raise UserError(f"train: run = {str(run)!r}: expected resume=True, or the URI of its folder as config.runs_dir")
    return open_run(run, TRAINER)


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
        folder = prepared.run or create_run(config.runs_dir, config.name, prepared.settings)
        run = folder.absolute()  # environments may change the current folder
        sizes, resume, title = site.sizes, going_on is not None, f"{config.name}: {config.env.id}"
        if spec.scores_of:
            title += f", played on {spec.scores_of}: its scores say nothing of the real game"
        share = ALL if config.mode == "serial" else DRIVER
        with (
            _kept(run, share) as keep,
            recorded(run, TRAINER) as ended,
            Console(title, config, is_terminal=table) as console,
            ExitStack() as stack,
        ):
            few = "" if sizes.min_actors == sizes.actors else f"{sizes.min_actors} to "
            console.event(
                f"{few}{plural(sizes.actors, 'actor')} x {plural(config.actors.envs_per_actor, 'environment')}, "
                f"learner on {_learner_in_words(config, sizes)}, replay up to {size(sizes.replay_bytes)}"
            )
            console.event(f"run folder {shown(folder)}")
            dashboard = f"; dashboard http://{site.dashboard}" if site.dashboard else ""
            console.event(f"watch with {program('tensorboard')} --logdir {folder.parent}{dashboard}")
            for note in (*spec.notes, site.note, warm.summary if warm else "", *(going_on.begin() if going_on else ())):
                if note:
                    console.event(note)
            place = keep(to_yaml(config) if resume else prepared.settings, console.event)
            loggers = stack.enter_context(Loggers(config, run, resume, console.event))
            system = _system(config, spec, site, place, console.event)
            system.start(resume, warm.params if warm else None)
            stack.callback(system.let_go)
            stack.enter_context(_sent(system))
            if going_on:
                going_on.keep_settings()
            with interrupts or nullcontext(_never) as interrupted, MetricsWriter(run, resume) as writer:
                telling = Telling(config, spec, folder, run, console, writer, loggers, hooks, site.here)
                loop = Run(config, system, telling, interrupted)
                yield loop
            if outcome := loop.outcome:
                ended(INTERRUPTED if outcome.interrupted else FINISHED, outcome.reason)


@contextmanager
def _kept(run: Path, share: Share) -> Iterator[Callable[[str, Say], RunPlace]]:
    """Yields what gives the place of a run that has been recorded, with its settings and where to say what fails.

    Of a run at a URI, `share` is here before the block and sent there from then on, all of it when the block ends.
    """
    if (uri := kept_at(run)) is None:
        yield lambda settings, say: RunPlace(run.absolute())
        return
    senders = list[Sender]()
    if before := start_ids(read_record(run))[-1:]:
        fetch_share(run, uri, share, before)

    def keep(settings: str, say: Say) -> RunPlace:
        starts = start_ids(read_record(run))[-2:]
        if not before and has_checkpoint(run):  # brought from elsewhere, such as a Tune trial's: nobody has newer ones
            mark_newest(run, ALL, starts[-1])
        senders.append(sender_of(run, uri, share, starts[-1], say))
        with os_errors(f"{uri} can't be written"):
            senders[0].send_now(RECORD_FILE, CONFIG_FILE)
        senders[0].start()
        return RunPlace(run, uri, tuple(starts), settings)

    def close() -> None:
        if senders and (problem := senders[0].close()):
            print(not_sent(uri, "this process", problem), flush=True)

    try:
        yield keep
    except Exception:
        close()
        raise
    close()


@contextmanager
def _sent(system: System) -> Iterator[None]:
    """When the block ends, but for a second Ctrl-C, all that the system wrote is sent where the run has a URI."""
    try:
        yield
    except Exception:
        system.send_rest()
        raise
    system.send_rest()


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


def _system(config: ApexConfig, spec: EnvSpec, site: Site, place: RunPlace, say: Say) -> System:
    if config.mode == "serial":
        from apex_ray.serial.program import SerialProgram

        return SerialProgram(config, spec, site.sizes, place.folder, say)
    from apex_ray.nodes.program import Program

    return Program(config, spec, site, place, say)
