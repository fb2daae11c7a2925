"""`apex-wavenet data`: sound to learn from, made on the spot, and phones beside recordings that are there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg, subcommand

from trainkit.command_line import at_least
from trainkit.errors import UserError

LEAST_RATE = 1_000  # Hz; below it neither speech nor a piano is left


@dataclass(frozen=True)
class Speech:
    """Say sentences by eSpeak NG, with their phones: apex-wavenet data speech --language en,ja --out made"""

    out: Annotated[str, arg(metavar="FOLDER")] = "made"
    """for the recordings"""
    language: str = "en"
    """en, ja or both with a comma"""
    voice: str = "f1,f2,m1,m2"
    """eSpeak NG's variants, taking turns"""
    sentences: int = 400
    """of each language"""
    sample_rate: int = 16_000
    """Hz"""
    text: Annotated[str | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """UTF-8, a sentence a line; default: sentences made of our own words"""

    def __call__(self) -> int:
        from trainkit.speech.made_speech import make

        at_least("--sentences", self.sentences, 1)
        at_least("--sample-rate", self.sample_rate, LEAST_RATE)
        text = Path(self.text).expanduser() if self.text else None
        languages, voices = self.language.split(","), self.voice.split(",")
        make(Path(self.out).expanduser(), languages, voices, self.sentences, self.sample_rate, text, print)
        return 0


@dataclass(frozen=True)
class Piano:
    """Play scores of music21's corpus on a soundfont's piano: apex-wavenet data piano --out piano"""

    out: Annotated[str, arg(metavar="FOLDER")] = "piano"
    """for the recordings"""
    music: Literal["pieces", "tunes"] = "pieces"
    """piano pieces and chorales, or dance tunes of one voice"""
    minutes: float = 30.0
    """of music"""
    sample_rate: int = 16_000
    """Hz"""
    soundfont: Annotated[str | None, arg(metavar="FILE.sf2", help_behavior_hint="")] = None
    """default: the one that pretty_midi brings"""

    def __call__(self) -> int:
        from wavenet.piano import make

        if self.minutes <= 0:
            raise UserError(f"command line: --minutes {self.minutes:g}: expected more than 0")
        at_least("--sample-rate", self.sample_rate, LEAST_RATE)
        soundfont = Path(self.soundfont).expanduser() if self.soundfont else None
        make(Path(self.out).expanduser(), self.music, self.minutes, self.sample_rate, soundfont, print)
        return 0


@dataclass(frozen=True)
class Align:
    """Find which phone is when in English recordings with known text: apex-wavenet data align --folder LJSpeech-1.1"""

    folder: str
    """of recordings, in any depth of folders"""
    text: Annotated[str | None, arg(metavar="FILE", help_behavior_hint="")] = None
    """lines of NAME|text; default: metadata.csv in the folder (LJSpeech), or NAME.txt files (VCTK)"""

    def __call__(self) -> int:
        from trainkit.speech.alignment import align_folder

        align_folder(Path(self.folder).expanduser(), Path(self.text).expanduser() if self.text else None, print)
        return 0


DataCommand = (
    Annotated[Speech, subcommand("speech")]
    | Annotated[Piano, subcommand("piano")]
    | Annotated[Align, subcommand("align")]
)
KINDS = ("speech", "piano", "align")
