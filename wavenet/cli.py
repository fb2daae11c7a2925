"""The console script `apex-wavenet`: train, generate, speak, evaluate, data, config."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

from tyro.conf import Positional, arg

from trainkit.command_line import RunFolder, Words, at_least, next_steps, run, say, say_aside
from trainkit.errors import UserError
from wavenet.config import PRESETS, WaveNetConfig
from wavenet.data_cli import KINDS, DataCommand

DESCRIPTION = "WaveNet: learn a folder of sound, generate more of it. --version prints the version."
SHORTEST_S = 0.001
EXTREME = 4.0  # of speed and pitch: the most, and the least is one over it
T = TypeVar("T")


@dataclass(frozen=True)
class Train:
    """Train on a folder of sound: apex-wavenet train folder data.folder=recordings"""

    words: Words = ()
    resume: Annotated[str | None, arg(metavar="RUN", help_behavior_hint="")] = None
    """go on with an earlier run from its newest checkpoint; training.KEY=VALUE, such as more steps, may be changed"""
    init_from: Annotated[str | None, arg(name="from", metavar="RUN", help_behavior_hint="")] = None
    """begin a new run with the weights and settings of another one, to learn another voice: data.folder=FOLDER"""

    def __call__(self) -> int:
        from wavenet.starting import settings_from
        from wavenet.train import train

        if self.init_from is not None and self.resume is not None:
            raise UserError("command line: --from and --resume exclude each other; --from begins a new run")
        if self.init_from is not None:
            config, run = settings_from(self.init_from, self.words), None
        else:
            config, run = PRESETS.to_train(self.words, self.resume)
        print(next_steps(PRESETS.trainer, _steps(config, train(config, run, say))), flush=True)
        return 0


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """Options of all commands that make sound."""

    weights: Literal["float32", "bfloat16", "int8"] = "bfloat16"
    """how they are stored while generating on a CPU"""
    device: Literal["cpu", "cuda"] = "cpu"
    """cuda: torch with CUDA graphs, in float32"""
    seed: int = 0
    """of the draws"""


@dataclass(frozen=True)
class Generate(_Drawn):
    """Make sound with a trained network."""

    run: RunFolder
    out: Annotated[str, arg(metavar="FILE")] = "generated.wav"
    """.wav or .flac; - for 16-bit samples on standard output as they are made"""
    seconds: float = 3.0
    """of sound"""
    prime: Annotated[str | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """a recording to go on from"""
    like: Annotated[str | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """for a vocoder (data.conditions=frames or mel): the recording that is sounded, for as long as it lasts"""
    frames: Annotated[str | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """for a vocoder (data.conditions=frames): frames in an .npz, or another program's mel spectrum in an .npy"""
    score: Annotated[str | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """for a network of notes (data.conditions=notes): the .mid or .json that is played, for as long as it lasts"""
    temperature: float = 1.0
    """below 1: likelier samples; 0: always the likeliest"""
    top_k: Annotated[int | None, arg(metavar="K", help_behavior_hint="")] = None
    """draw from the K likeliest classes only"""
    speaker: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """whose voice, where the network learned several"""

    def __call__(self) -> int:
        from wavenet.generating import Request, generate_to
        from wavenet.voice import Draws

        if not SHORTEST_S <= self.seconds < math.inf:
            raise UserError(f"command line: --seconds {self.seconds:g}: expected at least {SHORTEST_S:g}")
        at_least("--seed", self.seed, 0)
        generate_to(PRESETS.open(self.run), _picked(Request, self), _picked(Draws, self), self.out)
        return 0


@dataclass(frozen=True)
class Speak(_Drawn):
    """Say a text: an acoustic model (--acoustic) tells what each moment of it is like, the network how that sounds.

    Sentence by sentence: the first is heard while the others are yet to be read. Without TEXT, each line of standard
    input is said as it comes. A run that learned phones alone can do with eSpeak NG's times instead of a model.
    """

    run: RunFolder
    text: Annotated[Positional[str | None], arg(metavar="[TEXT]", help="what to say", help_behavior_hint="")] = None
    acoustic: Annotated[str | None, arg(metavar="RUN", help_behavior_hint="")] = None
    """a run of apex-lstm train speech"""
    language: str = "en"
    """en or ja"""
    voice: str = "f1"
    """eSpeak NG's, whose times are taken without --acoustic"""
    speaker: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """who speaks, where several were learned"""
    speed: float = 1.0
    """2: in half the time"""
    pitch: float = 1.0
    """2: an octave higher"""
    out: Annotated[str, arg(metavar="FILE")] = "spoken.wav"
    """.wav or .flac; - for 16-bit samples on standard output as they are made"""
    temperature: float = 0.9
    """below 1: likelier samples"""

    def __call__(self) -> int:
        from wavenet.speaking import Manner, speak_to
        from wavenet.voice import Draws

        at_least("--seed", self.seed, 0)
        for name, value in (("speed", self.speed), ("pitch", self.pitch)):
            if not 1 / EXTREME <= value <= EXTREME:
                raise UserError(f"command line: --{name} {value:g}: expected {1 / EXTREME:g} to {EXTREME:g}")
        texts = [self.text] if self.text is not None else filter(None, map(str.strip, sys.stdin))
        speak_to(
            PRESETS.open(self.run),
            texts,
            _picked(Manner, self),
            _picked(Draws, self),
            self.out,
            partial(say, stream=sys.stderr),
        )
        return 0


@dataclass(frozen=True)
class Data:
    """Make sound to learn from, or find the phones of sound that is there: speech, piano, align."""

    kind: Annotated[DataCommand, arg(name="")]

    def __call__(self) -> int:
        return self.kind()


@dataclass(frozen=True)
class Evaluate:
    """Measure a run's network on its held-out files, beside simpler models of the same samples."""

    run: RunFolder
    against: Annotated[str | None, arg(metavar="RUN", help_behavior_hint="")] = None
    """another run with the same files, unconditioned for example: file by file"""
    distances: Annotated[int, arg(metavar="N")] = 0
    """say the first N held-out files again, and tell the mel-cepstral distance to the recordings"""

    def __call__(self) -> int:
        from wavenet.evaluation import compare, distances, evaluate

        aside = say_aside()
        found = evaluate(PRESETS.open(self.run), aside)
        for name, bits in found.bits.items():
            print(f"{name:<40} {bits:7.4f} bits/sample")
        if self.against:
            for name, value in compare(found, evaluate(PRESETS.open(self.against), aside, alone=True)).items():
                print(f"{name:<40} {value:7.4f}")
        if self.distances:
            for name, db in distances(PRESETS.open(self.run), self.distances, 0.9, aside).items():
                print(f"{name:<40} {db:7.2f} dB")
        return 0


@dataclass(frozen=True)
class Config:
    """List every setting, its value and where it comes from; without a preset, the presets."""

    words: Words = ()

    def __call__(self) -> int:
        print(PRESETS.listed(self.words))
        return 0


def _picked(kind: type[T], given: object) -> T:
    """An instance of a dataclass whose fields are options of the same names."""
    return kind(**{f.name: getattr(given, f.name) for f in fields(cast(Any, kind)) if hasattr(given, f.name)})


def _steps(config: WaveNetConfig, run: Path) -> dict[str, list[str]]:
    """What can be done with a run: the words after apex-wavenet."""
    makes = {
        "none": {"generate": ["generate", str(run), "--out", "made.flac"]},
        "phones": {"speak": ["speak", str(run), "A tall man sings."]},
        "phones+f0": {"speak": ["speak", str(run), "A tall man sings.", "--acoustic", "LSTM_RUN"]},
        "frames": {
            "speak": ["speak", str(run), "A tall man sings.", "--acoustic", "LSTM_RUN"],
            "copy": ["generate", str(run), "--like", "RECORDING.wav", "--out", "made.flac"],
        },
        "notes": {"play": ["generate", str(run), "--score", "SCORE.mid", "--out", "made.flac"]},
        "mel": {"copy": ["generate", str(run), "--like", "RECORDING.wav", "--out", "made.flac"]},
    }
    more = ["train", "--resume", str(run), f"training.steps={2 * config.training.steps}"]
    return {"evaluate": ["evaluate", str(run)], **makes[config.data.conditions], "go on": more}


COMMANDS = {
    "train": Train,
    "generate": Generate,
    "speak": Speak,
    "evaluate": Evaluate,
    "data": Data,
    "config": Config,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or 2 for a mistake that the user can mend."""
    return run(PRESETS.trainer, COMMANDS, DESCRIPTION, argv, nested={"data": KINDS})


if __name__ == "__main__":
    sys.exit(main())
