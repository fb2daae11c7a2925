"""The console script `apex-ray`: training and everything about runs (COMMANDS), and the commands of plug-ins.

Torch and Ray are imported inside the commands that need them: `apex-ray config` and every mistake answer at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from tyro.conf import Positional, arg

from apex_ray.config.load import TRAINER, load, load_run_config, presets, resolved
from apex_ray.config.plugins import plugins
from trainkit.command_line import EXIT_INTERRUPTED, EXIT_MISTAKE, next_steps, output_file, run
from trainkit.config import format_resolved
from trainkit.errors import UserError
from trainkit.runs import RUNS_DIR, open_run
from trainkit.storage import shown

DESCRIPTION = "Ape-X DQN on Ray. `apex-ray config PRESET` lists every setting; --version prints the version."

Words = Annotated[Positional[tuple[str, ...]], arg(metavar="[PRESET] [KEY=VALUE ...]", help_behavior_hint="")]
Overrides = Annotated[Positional[tuple[str, ...]], arg(metavar="[KEY=VALUE ...]", help_behavior_hint="")]
Run = Annotated[Positional[str], arg(metavar="RUN")]


@dataclass(frozen=True)
class Train:
    """Train an agent, or go on with a run."""

    words: Words = ()
    """a preset's name or .yaml file, then settings such as actors.count=8"""
    resume: Annotated[str, arg(metavar="RUN", help_behavior_hint="")] = ""
    """folder or URI of a run to go on with, or latest, instead of a preset"""

    def __call__(self) -> int:
        preset, overrides = _split(self.words)
        overrides = [*(word for words in self._of_plugins(preset).values() for word in words), *overrides]
        run: Path | None
        if self.resume:
            if preset is not None:
                raise UserError(
                    f"command line: preset {preset!r} and --resume exclude each other; a run keeps the settings it "
                    f"was started with, give only those to change as key=value"
                )
            folder = open_run(self.resume, TRAINER)
            run, config = folder, load_run_config(folder, overrides).config
        else:
            if preset is None:
                raise UserError(f"command line: no preset; expected one of {', '.join(presets())}, or --resume RUN")
            run, config = None, load(preset, overrides).config
        for name, words in self._of_plugins(preset).items():
            if words and not config.env.id.rpartition(":")[2].startswith(f"{name}/"):
                raise UserError(
                    f"command line: {words[0]} has no effect on {config.env.id!r}; expected env.id={name}/..."
                )
        from apex_ray.run.ahead import imported_ahead

        with imported_ahead(config):
            from apex_ray.run.training import train

            outcome = train(config, run, bool(self.resume))
        print(next_steps(TRAINER, _steps(outcome.run, outcome.to_go_on)), flush=True)
        return EXIT_INTERRUPTED if outcome.interrupted else 0

    def _of_plugins(self, preset: str | None) -> dict[str, list[str]]:
        """The settings that each plug-in makes of its options, which `commands` has put into this class."""
        kinds = {name: plugin.train_options for name, plugin in plugins().items()} if type(self) is not Train else {}
        return {name: kind.settings(cast(Any, self), preset) for name, kind in kinds.items() if kind}


@dataclass(frozen=True)
class Config:
    """Print every setting of a preset and where it comes from."""

    words: Words = ()
    """a preset's name or .yaml file, then settings such as actors.count=8"""

    def __call__(self) -> int:
        preset, overrides = _split(self.words)
        if preset is None:
            raise UserError(f"command line: no preset; expected one of {', '.join(presets())} or a .yaml file")
        print(format_resolved(resolved(preset, overrides)))
        return 0


@dataclass(frozen=True)
class Evaluate:
    """Play full episodes with a run's weights and print their returns."""

    run: Run
    """the run's folder or URI, or latest"""
    overrides: Overrides = ()
    """settings that differ from the run's"""
    episodes: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """how many; default: the run's evaluation.episodes"""
    checkpoint: Annotated[str, arg(metavar="best|latest")] = "best"
    """which weights; also a folder's name under checkpoints/"""

    def __call__(self) -> int:
        return _play(open_run(self.run, TRAINER), self.overrides, self.checkpoint, self.episodes, None)


@dataclass(frozen=True)
class Record:
    """Write a video of one episode played with a run's weights, and the emulator's own movie where there is one."""

    run: Run
    """the run's folder or URI, or latest"""
    overrides: Overrides = ()
    """settings that differ from the run's"""
    out: Annotated[str, arg(metavar="FILE.mp4", help_behavior_hint="")] = ""
    """where to; default: RUN/videos/CHECKPOINT.mp4"""
    checkpoint: Annotated[str, arg(metavar="best|latest")] = "best"
    """which weights; also a folder's name under checkpoints/"""
    episodes: Annotated[int, arg(metavar="N")] = 1
    """episodes to play; the best of them is kept"""

    def __call__(self) -> int:
        run = open_run(self.run, TRAINER)
        video = _out(self.out, run / "videos" / f"{self.checkpoint}.mp4", ".mp4")
        return _play(run, self.overrides, self.checkpoint, self.episodes, video)


@dataclass(frozen=True)
class Export:
    """Write a run's network for other programs, checked on 1,000 observations of its own environment."""

    run: Run
    """the run's folder or URI, or latest"""
    format: Annotated[Literal["onnx", "torchscript", "safetensors"], arg(metavar="onnx|torchscript|safetensors")] = (
        "onnx"
    )
    """ONNX, TorchScript (both from observations to Q-values), or the weights alone"""
    out: Annotated[str, arg(metavar="FILE", help_behavior_hint="")] = ""
    """where to; default: RUN/export/CHECKPOINT.onnx, .pt or .safetensors"""
    checkpoint: Annotated[str, arg(metavar="best|latest")] = "best"
    """which weights; also a folder's name under checkpoints/"""

    def __call__(self) -> int:
        run = open_run(self.run, TRAINER)
        from apex_ray.export import SUFFIXES, export_run
        from apex_ray.process import prepare_process
        from apex_ray.report.failure import described

        suffix = SUFFIXES[self.format]
        out = _out(self.out, run / "export" / f"{self.checkpoint}{suffix}", suffix)
        prepare_process(threads=1)
        with described("the export", run):
            lines = export_run(run, self.checkpoint, self.format, out)
        print("\n".join(lines))
        return 0


@dataclass(frozen=True)
class Plot:
    """Draw a run's learning curve, memory and what else its environment reports, from what it has written so far.

    Of several runs, one picture that compares them: those that differ only in seed are one curve, with a band.
    """

    runs: Annotated[Positional[tuple[str, ...]], arg(metavar="RUN [RUN ...]", help_behavior_hint="")] = ()
    """the runs' folders or URIs, or latest"""
    by: Annotated[str, arg(metavar="SETTING", help_behavior_hint="")] = ""
    """of several runs: a curve for each value of this setting, such as td.n_step"""
    out: Annotated[str, arg(metavar="FILE.png", help_behavior_hint="")] = ""
    """of several runs: where to; default: comparison.png beside the first run's folder"""

    def __call__(self) -> int:
        runs = list({run.resolve(): run for run in (open_run(name, TRAINER) for name in self.runs)}.values())
        if not runs:
            raise UserError("command line: no run; expected the folders of one run or more, or latest")
        if len(runs) == 1:
            if self.by or self.out:
                raise UserError(f"command line: {'--by' if self.by else '--out'} is of several runs, and one was given")
            from apex_ray.report.drawn import draw_run

            drawn = draw_run(runs[0])
            print("\n".join(map(str, drawn)) if drawn else f"{runs[0]} holds nothing yet that could be drawn")
            return 0
        out = _out(self.out, runs[0].parent / "comparison.png", ".png")
        from apex_ray.report.compare import compare

        picture, messages = compare(runs, self.by, out)
        print("\n".join([*messages, str(picture) if picture else "no run holds anything yet that could be drawn"]))
        return 0


@dataclass(frozen=True)
class Doctor:
    """Say which part of a run holds the others up, and what to change about it."""

    run: Run
    """the run's folder or URI, or latest; it may be going on"""

    def __call__(self) -> int:
        run = open_run(self.run, TRAINER)
        from apex_ray.report.diagnosis import doctor

        print("\n".join(doctor(run)))
        return 0


@dataclass(frozen=True)
class Runs:
    """List the runs in a folder, the newest first: how far each has come, and how it ended."""

    folder: Annotated[Positional[str], arg(metavar="[FOLDER]")] = RUNS_DIR
    """that run folders are made in, or its URI"""

    def __call__(self) -> int:
        from apex_ray.report.run_table import run_table

        print(run_table(self.folder))
        return 0


@dataclass(frozen=True)
class Env:
    """Print what a bug report needs of this machine: versions, devices, memory, games."""

    def __call__(self) -> int:
        from apex_ray.report.machine import lines

        print("\n".join(lines()))
        return 0


COMMANDS: dict[str, type[Any]] = {
    "train": Train,
    "config": Config,
    "evaluate": Evaluate,
    "record": Record,
    "plot": Plot,
    "export": Export,
    "doctor": Doctor,
    "runs": Runs,
    "env": Env,
}


def commands(words: Sequence[str]) -> dict[str, type[Any]]:
    """All commands by name, as `words` need them: plug-ins are asked for what is not our own, and for help."""
    options = {word.partition("=")[0] for word in words if word.startswith("-")}
    if words and words[0] in COMMANDS and (words[0] != "train" or options <= {"--resume"}):
        return COMMANDS
    found = list(plugins().values())
    # Options of plug-ins are fields of the class: parsed, and shown by --help, as ours are.
    options_of = [plugin.train_options for plugin in found if plugin.train_options]
    train = make_dataclass("Train", (), bases=(Train, *options_of), frozen=True, namespace={"__doc__": Train.__doc__})
    theirs = {name: command for plugin in found for name, command in plugin.commands.items()}
    return COMMANDS | {"train": train} | theirs


def _out(given: str, default: Path, suffix: str) -> Path:
    """Where to write, its folder made. UserError for another suffix and for what can't be written."""
    out = given or str(default)
    if Path(out).suffix != suffix:
        raise UserError(f"command line: --out {given!r}: expected a file name that ends in {suffix}")
    return output_file("--out", out)


def _play(run: Path, overrides: Sequence[str], checkpoint: str, episodes: int | None, video: Path | None) -> int:
    """Play episodes with a run's weights and print what came of it."""
    if episodes is not None and episodes < 1:
        raise UserError(f"command line: --episodes {episodes}: expected at least 1")
    config = load_run_config(run, overrides).config
    from apex_ray.evaluation import evaluate_run
    from apex_ray.process import prepare_process
    from apex_ray.report.failure import described
    from apex_ray.report.result_lines import result_lines

    # As a run's own evaluator: more threads would wait for each other at every step where a training needs the cores.
    prepare_process(threads=1)
    with described("the evaluation", run):
        result = evaluate_run(run, config, checkpoint, episodes, video)
    print("\n".join(result_lines(result, config.env.id)))
    return 0


def _steps(run: Path, to_go_on: Sequence[str]) -> dict[str, list[str]]:
    """What can be done with a run, which needs these settings to go on: the words after apex-ray."""
    name = shown(run)
    return {
        "evaluate": ["evaluate", name],
        "record": ["record", name],
        "plot": ["plot", name],
        "go on": ["train", "--resume", name, *to_go_on],
    }


def _split(words: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """The preset, if the first word is one, and the overrides."""
    if words and "=" not in words[0]:
        return words[0], words[1:]
    return None, words


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 for a mistake that the user can correct, 130 for Ctrl-C."""
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        known = commands(words)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_MISTAKE
    return run("apex-ray", known, DESCRIPTION, argv)


if __name__ == "__main__":
    sys.exit(main())
