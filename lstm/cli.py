"""The console script `apex-lstm`: train, evaluate, sample, forecast, memory, find-rate, sweep, config."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg, subcommand

from lstm.config import TRAINER, LstmConfig, load, load_run_config, presets
from trainkit.command_line import next_steps, output_file, run
from trainkit.config import format_resolved, refuse_changes
from trainkit.errors import UserError
from trainkit.runs import open_run
from trainkit.training_log import ByTime

DESCRIPTION = "LSTM: learn series, text or sound; forecast, and make more of it. --version prints the version."

WORDS_HELP = "a preset's name or a .yaml file, then settings on top; apex-lstm config PRESET lists them"
Words = Annotated[
    Positional[tuple[str, ...]], arg(metavar="[PRESET] [KEY=VALUE ...]", help=WORDS_HELP, help_behavior_hint="")
]
RunFolder = Annotated[Positional[str], arg(metavar="RUN", help="folder of a run", help_behavior_hint="")]
Also = Annotated[tuple[str, ...], arg(metavar="RUN ...", help_behavior_hint="")]


@dataclass(frozen=True)
class Train:
    """Train on one of the tasks: apex-lstm train text text.path=book.txt"""

    words: Words = ()
    resume: Annotated[str | None, arg(metavar="RUN", help_behavior_hint="")] = None
    """go on with an earlier run from its newest checkpoint; training.KEY=VALUE, such as more steps, may be changed"""

    def __call__(self) -> int:
        from lstm.train import train

        if self.resume:
            refuse_changes(self.words, kept=["training.batch"])
            config, run = load_run_config(self.resume, self.words), _opened(self.resume)
        else:
            config, run = _load(self.words), None
        print(next_steps(TRAINER, _steps(config, train(config, run, _told))), flush=True)
        return 0


@dataclass(frozen=True)
class Evaluate:
    """Measure a run's network on held-out data beside simpler models; of forecasts, a rolling-origin backtest."""

    run: RunFolder
    also: Also = ()
    """more runs that learned the same forecast with other seeds: the mean of all is measured"""

    def __call__(self) -> int:
        from lstm.evaluation import evaluate

        for text in evaluate(_opened(self.run), list(map(_opened, self.also)), ByTime(_told_beside, stream=sys.stderr)):
            print(text)
        return 0


@dataclass(frozen=True)
class Sample:
    """Make text or sound with a trained network."""

    run: RunFolder
    length: Annotated[int, arg(metavar="N")] = 1_000
    """characters, bytes or samples"""
    prompt: Annotated[str | None, arg(metavar="TEXT", help_behavior_hint="")] = None
    """text to go on from; default: the end of a line"""
    temperature: float = 0.8
    """below 1: likelier codes; 0: always the likeliest"""
    top_k: Annotated[int | None, arg(metavar="K", help_behavior_hint="")] = None
    """draw from the K likeliest only"""
    seed: int = 0
    """of the draws"""
    out: Annotated[str | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """a .wav or .flac, for sound; a text file instead of the console"""

    def __call__(self) -> int:
        from lstm.sampling import sample_to

        if self.length < 1:
            raise UserError(f"command line: --length {self.length}: expected at least 1")
        if not 0 <= self.temperature < math.inf:
            raise UserError(f"command line: --temperature {self.temperature:g}: expected a number of 0 or more")
        if not 0 <= self.seed < 2**63:
            raise UserError(f"command line: --seed {self.seed}: expected 0 to 2^63 - 1")
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"command line: --top-k {self.top_k}: expected at least 1")
        drawn = (self.temperature, self.top_k, self.seed)
        sample_to(_opened(self.run), self.length, self.prompt, drawn, self.out)
        return 0


@dataclass(frozen=True)
class Forecast:
    """Quantiles of the steps after each series' last value."""

    run: RunFolder
    also: Also = ()
    """more runs that learned the same forecast with other seeds: the forecast is the mean of all"""
    data: Annotated[str | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """newer data with the same columns; default: the file that was learned from"""
    out: Annotated[str, arg(metavar="FILE")] = "forecast.csv"
    """.csv or .parquet; a picture of the same name lies beside it"""

    def __call__(self) -> int:
        from lstm.forecasting import forecast_to

        runs = list(map(_opened, (self.run, *self.also)))
        forecast_to(runs, self.data, output_file("--out", self.out), ByTime(_told_beside, stream=sys.stderr))
        return 0


@dataclass(frozen=True)
class Memory:
    """How far back a plain network and an LSTM can learn: gradients against lag, and the adding problem."""

    steps: Annotated[int, arg(metavar="N")] = 1_000
    """length of the rows"""
    updates: int = 1_500
    """of the weights"""
    hidden: int = 32
    """units"""
    batch: int = 32
    """rows in an update"""
    seed: int = 1
    """of weights and rows"""
    show_gates: bool = False
    """also a picture of the trained LSTM's gates over a row"""
    out: Annotated[str, arg(metavar="FOLDER")] = "memory"
    """for numbers and pictures"""

    def __call__(self) -> int:
        from lstm.memory_report import memory

        for name, least in (("steps", 4), ("updates", 1), ("hidden", 1), ("batch", 1)):
            if getattr(self, name) < least:
                raise UserError(f"command line: --{name} {getattr(self, name)}: expected at least {least}")
        memory(self.steps, self.updates, self.hidden, self.batch, self.seed, self.show_gates, Path(self.out), _told)
        return 0


@dataclass(frozen=True)
class FindRate:
    """Look for a learning rate: updates at rates that grow, and where the loss falls fastest."""

    words: Words = ()
    updates: int = 100
    """to try rates with"""
    out: Annotated[str, arg(metavar="FILE")] = "rates.png"
    """a picture of loss against rate"""

    def __call__(self) -> int:
        from lstm.rates import find_rate

        find_rate(_load(self.words), self.updates, output_file("--out", self.out), print)
        return 0


@dataclass(frozen=True)
class Sweep:
    """Train many times with settings drawn by Ray Tune: apex-lstm sweep text text.path=x model.hidden=64|128|256
    training.learning_rate=1e-4..1e-2
    """

    words: Words = ()
    trials: int = 8
    """runs, each with settings of its own"""
    seed: int = 1
    """of the draws"""

    def __call__(self) -> int:
        from lstm.sweep import sweep

        preset, words = _preset(self.words)
        sweep(preset, words, self.trials, self.seed, _told)
        return 0


@dataclass(frozen=True)
class Config:
    """List every setting, its value and where it comes from; without a preset, the presets."""

    words: Words = ()

    def __call__(self) -> int:
        if not self.words:
            print("presets: " + ", ".join(presets()))
            return 0
        print(format_resolved(load(self.words[0], self.words[1:])))
        return 0


def _preset(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    if not words or "=" in words[0]:
        raise UserError(
            f"command line: no preset; expected one of {', '.join(presets())} or a .yaml file, then KEY=VALUE"
        )
    return words[0], words[1:]


def _load(words: Sequence[str]) -> LstmConfig:
    preset, settings = _preset(words)
    return load(preset, settings).config


def _opened(run: str) -> Path:
    return open_run(run, TRAINER)


def _steps(config: LstmConfig, run: Path) -> dict[str, list[str]]:
    """What can be done with a run: the words after apex-lstm."""
    makes: dict[str, list[str]] = {}
    if config.forecast:
        makes = {"forecast": ["forecast", str(run), "--out", "forecast.csv"]}
    elif config.text:
        makes = {"sample": ["sample", str(run)]}
    elif config.audio:
        makes = {"sample": ["sample", str(run), "--out", "sample.wav"]}
    more = ["train", "--resume", str(run), f"training.steps={2 * config.training.steps}"]
    return {"evaluate": ["evaluate", str(run)], **makes, "go on": more}


def _told(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def _told_beside(text: str) -> None:
    """Where it does not mix with a result that is written to a file."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


Command = (
    Annotated[Train, subcommand("train")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Sample, subcommand("sample")]
    | Annotated[Forecast, subcommand("forecast")]
    | Annotated[Memory, subcommand("memory")]
    | Annotated[FindRate, subcommand("find-rate")]
    | Annotated[Sweep, subcommand("sweep")]
    | Annotated[Config, subcommand("config")]
)
COMMANDS = ("train", "evaluate", "sample", "forecast", "memory", "find-rate", "sweep", "config")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or 2 for a mistake that the user can mend."""
    return run("apex-lstm", Command, COMMANDS, DESCRIPTION, sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
