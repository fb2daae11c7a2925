"""The console script `apex-lstm`: train, evaluate, and what a run of each task is used for."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from lstm.config import PRESETS, LstmConfig
from trainkit.command_line import RunFolder, Words, at_least, next_steps, output_file, run, say, say_aside
from trainkit.errors import UserError

DESCRIPTION = "LSTM: learn series, text, sound or speech; forecast, make more, speak. --version prints the version."

Also = Annotated[tuple[str, ...], arg(metavar="RUN ...", help_behavior_hint="")]


@dataclass(frozen=True)
class Train:
    """Train on one of the tasks: apex-lstm train text text.path=book.txt"""

    words: Words = ()
    resume: Annotated[str | None, arg(metavar="RUN", help_behavior_hint="")] = None
    """go on with an earlier run from its newest checkpoint; training.KEY=VALUE, such as more steps, may be changed"""

    def __call__(self) -> int:
        from lstm.train import train

        config, run = PRESETS.to_train(self.words, self.resume, kept=["training.batch"])
        print(next_steps(PRESETS.trainer, _steps(config, train(config, run, say))), flush=True)
        return 0


@dataclass(frozen=True)
class Evaluate:
    """Measure a run's network on held-out data beside simpler models; of forecasts, a rolling-origin backtest."""

    run: RunFolder
    also: Also = ()
    """more runs that learned the same forecast with other seeds: the mean of all is measured"""

    def __call__(self) -> int:
        from lstm.evaluation import evaluate

        for text in evaluate(PRESETS.open(self.run), list(map(PRESETS.open, self.also)), say_aside()):
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

        at_least("--length", self.length, 1)
        if not 0 <= self.temperature < math.inf:
            raise UserError(f"command line: --temperature {self.temperature:g}: expected a number of 0 or more")
        if not 0 <= self.seed < 2**63:
            raise UserError(f"command line: --seed {self.seed}: expected 0 to 2^63 - 1")
        if self.top_k is not None:
            at_least("--top-k", self.top_k, 1)
        drawn = (self.temperature, self.top_k, self.seed)
        sample_to(PRESETS.open(self.run), self.length, self.prompt, drawn, self.out)
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

        runs = list(map(PRESETS.open, (self.run, *self.also)))
        forecast_to(runs, self.data, output_file("--out", self.out), say_aside())
        return 0


@dataclass(frozen=True)
class Speak:
    """Say a text: how long each phone lasts, and frames of mel, log F0 and voicing for a vocoder, or sound."""

    run: RunFolder
    text: Annotated[Positional[str], arg(metavar="TEXT", help="what to say", help_behavior_hint="")]
    language: str = "en"
    """en or ja"""
    speaker: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """who says it, where several were learned; default: the first that speaks the language"""
    speed: float = 1.0
    """2: in half the time"""
    pitch: float = 1.0
    """2: an octave higher; of frames"""
    out: Annotated[str, arg(metavar="FILE")] = "spoken.wav"
    """.npz: frames, as apex-wavenet takes them; .wav or .flac: sound by Griffin-Lim"""

    def __call__(self) -> int:
        from lstm.speaking import speak_to

        run = PRESETS.open(self.run)
        speak_to(run, self.text, self.language, self.speaker, self.speed, self.pitch, self.out, say)
        return 0


@dataclass(frozen=True)
class Frames:
    """Say the texts of a folder of recordings at the recordings' own times, as frames for a vocoder to learn from."""

    run: RunFolder
    folder: Annotated[str, arg(metavar="FOLDER", help_behavior_hint="")]
    """recordings with their phones beside them"""
    out: Annotated[str, arg(metavar="FOLDER")] = "frames"
    """for a NAME.npz of each recording"""

    def __call__(self) -> int:
        from lstm.speaking import resay_to

        resay_to(PRESETS.open(self.run), Path(self.folder).expanduser(), Path(self.out).expanduser(), say)
        return 0


@dataclass(frozen=True)
class Export:
    """Write the network of a run that learned speech for other programs: two ONNX files, checked, and what goes in."""

    run: RunFolder
    out: Annotated[str, arg(metavar="FOLDER")] = "exported"
    """for phones.onnx, frames.onnx and acoustic.json"""

    def __call__(self) -> int:
        from lstm.export import export_to

        export_to(PRESETS.open(self.run), Path(self.out).expanduser(), say)
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
        from lstm.memory import memory

        for name, least in (("steps", 4), ("updates", 1), ("hidden", 1), ("batch", 1)):
            at_least(f"--{name}", getattr(self, name), least)
        memory(self.steps, self.updates, self.hidden, self.batch, self.seed, self.show_gates, Path(self.out), say)
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

        find_rate(PRESETS.load(*PRESETS.split(self.words)).config, self.updates, output_file("--out", self.out), print)
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

        sweep(*PRESETS.split(self.words), self.trials, self.seed, say)
        return 0


@dataclass(frozen=True)
class Config:
    """List every setting, its value and where it comes from; without a preset, the presets."""

    words: Words = ()

    def __call__(self) -> int:
        print(PRESETS.listed(self.words))
        return 0


def _steps(config: LstmConfig, run: Path) -> dict[str, list[str]]:
    """What can be done with a run: the words after apex-lstm."""
    makes: dict[str, list[str]] = {}
    if config.forecast:
        makes = {"forecast": ["forecast", str(run), "--out", "forecast.csv"]}
    elif config.text:
        makes = {"sample": ["sample", str(run)]}
    elif config.audio:
        makes = {"sample": ["sample", str(run), "--out", "sample.wav"]}
    elif config.speech:
        makes = {"speak": ["speak", str(run), "A tall man sings.", "--out", "spoken.wav"]}
    more = ["train", "--resume", str(run), f"training.steps={2 * config.training.steps}"]
    return {"evaluate": ["evaluate", str(run)], **makes, "go on": more}


COMMANDS = {
    "train": Train,
    "evaluate": Evaluate,
    "sample": Sample,
    "forecast": Forecast,
    "speak": Speak,
    "frames": Frames,
    "export": Export,
    "memory": Memory,
    "find-rate": FindRate,
    "sweep": Sweep,
    "config": Config,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or 2 for a mistake that the user can mend."""
    return run(PRESETS.trainer, COMMANDS, DESCRIPTION, argv)


if __name__ == "__main__":
    sys.exit(main())
