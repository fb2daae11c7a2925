"""Models that say which frames a text has, found by the name of the program that trained them.

A package offers its own under the entry point group ACOUSTIC_MODELS, by the name of its console script; so those who
sound frames need not know who says them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from trainkit.errors import UserError
from trainkit.run_layout import read_record
from trainkit.runs import open_run
from trainkit.speech.frame_settings import FrameSettings
from trainkit.speech.frames import Frames

ACOUSTIC_MODELS = "trainkit.acoustic_models"  # entry points: a trainer's console script -> Opens


class AcousticModel(Protocol):
    """A trained one."""

    @property
    def settings(self) -> FrameSettings:
        """Of all frames that it gives."""

    @property
    def languages(self) -> Sequence[str]:
        """Those that it learned, such as en and ja."""

    @property
    def speakers(self) -> Sequence[str]:
        """Whom it learned, by name."""

    def speak(
        self, text: str, language: str = "en", speaker: str | None = None, speed: float = 1.0, pitch: float = 1.0
    ) -> Iterator[Frames]:
        """Frames of a text, with their phones, sentence by sentence, each as soon as it is there.

        `speed` 2 takes half the time, `pitch` 2 is an octave higher; `speaker` None: the first that has the language.
        UserError for a text in which there is nothing to say, and for a language or speaker that was not learned.
        """

    def resay(self, recording: Path, speaker: str | None = None) -> Frames:
        """Of the text in the .json beside a recording, at the times that it gives its phones: as many frames as
        `analyse` gives of the recording. `speaker` None: where several were learned, the folder that it lies in.

        UnusableError, with the reason, where the file can't be used; UserError for a speaker that was not learned.
        """


Opens = Callable[[Path], AcousticModel]


def open_acoustic(run: str | Path) -> AcousticModel:
    """The model of a run folder, or the beginning of its name. UserError where the run is none of such a model."""
    folder = open_run(run)
    trainer = str(read_record(folder).get("trainer", ""))
    found = entry_points(group=ACOUSTIC_MODELS, name=trainer)
    if not found:
        others = ", ".join(sorted(e.name for e in entry_points(group=ACOUSTIC_MODELS))) or "none that is installed"
        raise UserError(
            f"run {str(run)!r} is of {trainer or 'no trainer'}, which says no frames; expected one of {others}"
        )
    opens: Opens = next(iter(found)).load()
    return opens(folder)
