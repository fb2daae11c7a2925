"""The console script `apex-wavenet`: train, generate, speak, evaluate, data, config."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg, subcommand

from trainkit.command_line import next_steps, run
from trainkit.config import format_resolved, refuse_changes
from trainkit.errors import UserError
from trainkit.runs import open_run
from trainkit.training_log import ByTime
from wavenet.config import TRAINER, WaveNetConfig, load, load_run_config, presets
from wavenet.data_cli import KINDS, DataCommand

DESCRIPTION = "WaveNet: learn a folder of sound, generate more of it. --version prints the version."
CHUNK_S = 0.02  # of generated sound at a time
SHORTEST_S = 0.001

WORDS_HELP = "a preset's name or a .yaml file, then settings on top; apex-wavenet config PRESET lists them"
Words = Annotated[
    Positional[tuple[str, ...]], arg(metavar="[PRESET] [KEY=VALUE ...]", help=WORDS_HELP, help_behavior_hint="")
]
RunFolder = Annotated[Positional[str], arg(metavar="RUN", help="folder of a run", help_behavior_hint="")]


@dataclass(frozen=True)
class Train:
    """Train on a folder of sound: apex-wavenet train folder data.folder=recordings"""

    words: Words = ()
    resume: Annotated[str | None, arg(metavar="RUN", help_behavior_hint="")] = None
    """go on with an earlier run from its newest checkpoint; training.KEY=VALUE, such as more steps, may be changed"""

    def __call__(self) -> int:
        from wavenet.train import train

        if self.resume:
            refuse_changes(self.words)
            config, run = load_run_config(self.resume, self.words), _opened(self.resume)
        else:
            config, run = _load(self.words), None
        print(next_steps(TRAINER, _steps(config, train(config, run, _told))), flush=True)
        return 0


@dataclass(frozen=True)
class Generate:
    """Make sound with a trained network."""

    run: RunFolder
    out: Annotated[str, arg(metavar="FILE")] = "generated.wav"
    """.wav or .flac; - for 16-bit samples on standard output as they are made"""
    seconds: float = 3.0
    """of sound"""
    prime: Annotated[str | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """a recording to go on from"""
    like: Annotated[str | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """for a vocoder (data.conditions=mel): the recording whose spectrum is sounded, for as long as it lasts"""
    score: Annotated[str | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """for a network of notes (data.conditions=notes): the .mid or .json that is played, for as long as it lasts"""
    temperature: float = 1.0
    """below 1: likelier samples; 0: always the likeliest"""
    top_k: Annotated[int | None, arg(metavar="K", help_behavior_hint="")] = None
    """draw from the K likeliest classes only"""
    speaker: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """whose voice, where the network learned several"""
    weights: Literal["float32", "bfloat16", "int8"] = "bfloat16"
    """how they are stored while generating on a CPU"""
    device: Literal["cpu", "cuda"] = "cpu"
    """cuda: torch with CUDA graphs, in float32"""
    seed: int = 0
    """of the draws"""

    def __call__(self) -> int:
        from wavenet.speaking import Request, generate_to

        if not SHORTEST_S <= self.seconds < math.inf:
            raise UserError(f"command line: --seconds {self.seconds:g}: expected at least {SHORTEST_S:g}")
        _check_seed(self.seed)
        request = Request(
            seconds=self.seconds,
            prime=self.prime,
            like=self.like,
            score=self.score,
            speaker=self.speaker,
            temperature=self.temperature,
            top_k=self.top_k,
            weights=self.weights,
            seed=self.seed,
            device=self.device,
        )
        generate_to(_opened(self.run), request, self.out, CHUNK_S)
        return 0


@dataclass(frozen=True)
class Speak:
    """Say a text with a network trained on phones: eSpeak NG tells which phone is when, the network how it sounds."""

    run: RunFolder
    text: Annotated[Positional[str], arg(metavar="TEXT", help="what to say", help_behavior_hint="")]
    language: str = "en"
    """en or ja"""
    voice: str = "f1"
    """eSpeak NG's, such as f1 or m3: whose timing; and whose sound, where the network learned LANGUAGE-VOICE"""
    speaker: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """whose sound, where the network learned other speakers"""
    out: Annotated[str, arg(metavar="FILE")] = "spoken.wav"
    """.wav or .flac"""
    temperature: float = 0.9
    """below 1: likelier samples"""
    weights: Literal["float32", "bfloat16", "int8"] = "bfloat16"
    """how they are stored while generating on a CPU"""
    device: Literal["cpu", "cuda"] = "cpu"
    """cuda: torch with CUDA graphs, in float32"""
    seed: int = 0
    """of the draws"""

    def __call__(self) -> int:
        from wavenet.speaking import Request, speak_to

        _check_seed(self.seed)
        request = Request(
            speaker=self.speaker, temperature=self.temperature, weights=self.weights, seed=self.seed, device=self.device
        )
        speak_to(_opened(self.run), self.text, self.language, self.voice, request, self.out, CHUNK_S, _told)
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
        from wavenet.evaluation import compare, distances, evaluate, evaluate_alone

        progress = ByTime(_told_beside, stream=sys.stderr)
        found = evaluate(_opened(self.run), progress)
        for name, bits in found.bits.items():
            print(f"{name:<40} {bits:7.4f} bits/sample")
        if self.against:
            for name, value in compare(found, evaluate_alone(_opened(self.against), progress)).items():
                print(f"{name:<40} {value:7.4f}")
        if self.distances:
            for name, db in distances(_opened(self.run), self.distances, 0.9, progress).items():
                print(f"{name:<40} {db:7.2f} dB")
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


def _load(words: Sequence[str]) -> WaveNetConfig:
    if not words or "=" in words[0]:
        raise UserError(
            f"command line: no preset; expected one of {', '.join(presets())} or a .yaml file, then KEY=VALUE"
        )
    return load(words[0], words[1:]).config


def _opened(run: str) -> Path:
    return open_run(run, TRAINER)


def _steps(config: WaveNetConfig, run: Path) -> dict[str, list[str]]:
    """What can be done with a run: the words after apex-wavenet."""
    makes = {
        "none": {"generate": ["generate", str(run), "--out", "made.flac"]},
        "phones": {"speak": ["speak", str(run), "A tall man sings."]},
        "notes": {"play": ["generate", str(run), "--score", "SCORE.mid", "--out", "made.flac"]},
        "mel": {"copy": ["generate", str(run), "--like", "RECORDING.wav", "--out", "made.flac"]},
    }
    more = ["train", "--resume", str(run), f"training.steps={2 * config.training.steps}"]
    return {"evaluate": ["evaluate", str(run)], **makes[config.data.conditions], "go on": more}


def _check_seed(seed: int) -> None:
    if seed < 0:
        raise UserError(f"command line: --seed {seed}: expected at least 0")


def _told(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def _told_beside(text: str) -> None:
    """Where it does not mix with a result that is written to a file."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


Command = (
    Annotated[Train, subcommand("train")]
    | Annotated[Generate, subcommand("generate")]
    | Annotated[Speak, subcommand("speak")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Data, subcommand("data")]
    | Annotated[Config, subcommand("config")]
)
COMMANDS = ("train", "generate", "speak", "evaluate", "data", "config")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, or 2 for a mistake that the user can mend."""
    words = sys.argv[1:] if argv is None else argv
    return run("apex-wavenet", Command, COMMANDS, DESCRIPTION, words, nested={"data": KINDS})


if __name__ == "__main__":
    sys.exit(main())
