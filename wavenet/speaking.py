"""From a run and a text to a file of sound: sentence by sentence, each sounded as soon as it is known what it has.

An acoustic model tells which frames each sentence has, and when its phones begin. Runs that learned phones alone can
be told the times at which eSpeak NG says them instead, which are those of another voice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trainkit.errors import UserError, did_you_mean
from trainkit.speech.acoustic import AcousticModel, open_acoustic
from trainkit.speech.espeak import UnsayableError, choose, synthesize
from trainkit.speech.frames import check
from trainkit.speech.phones import Timeline, timeline
from trainkit.speech.reading import sentences
from trainkit.speech.spoken import LANGUAGES
from trainkit.words import Say
from wavenet import checkpoint
from wavenet.config import FRAMED, PRESETS, WaveNetConfig
from wavenet.corpus import Recording
from wavenet.streams import Floats
from wavenet.voice import Draws, Voice, silent
from wavenet.writing import Written, check_out, write


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How a text is said, and by whom."""

    language: str = "en"
    voice: str = "f1"  # eSpeak NG's, whose times are taken where there is no acoustic model
    speaker: str | None = None
    acoustic: str | None = None  # a run, or the beginning of its name
    speed: float = 1.0
    pitch: float = 1.0


class Speaker:
    """A run's network, and what tells it how a text is said, opened to say one text after the other."""

    def __init__(self, run: Path, manner: Manner, draws: Draws, say: Say) -> None:
        """`say` gets a line when a text has phones that the network never learned, each once.

        UserError for what does not fit together.
        """
        config = PRESETS.load_run(run)
        _check(run, config, manner)
        self._manner, self._say, self._named = manner, say, set[str]()
        self._acoustic = None if manner.acoustic is None else _opened(manner.acoustic, config)
        if self._acoustic is None:
            choose(LANGUAGES[manner.language], manner.voice)
        self._said_by, sounded_by = _whose(checkpoint.known(run)[0], self._acoustic, manner)
        self._voice = Voice(run, draws, sounded_by)
        self.rate = self._voice.rate

    def says(self, text: str) -> Iterator[Floats]:
        """Chunks of samples [n]. UnsayableError when there is nothing to say in it."""
        for piece in self._by_espeak(text) if self._acoustic is None else self._by_model(text, self._acoustic):
            yield from self._voice.sound(piece)

    def _by_espeak(self, text: str) -> Iterator[Recording]:
        m, anything = self._manner, False
        for sentence in sentences(text, m.language):
            try:
                utterance = synthesize(sentence, LANGUAGES[m.language], m.voice)
            except UnsayableError:
                continue
            anything = True
            seconds = utterance.seconds / m.speed
            line = timeline([(start / m.speed, name) for start, name in utterance.phones], seconds)
            self._name_strange(line)
            yield Recording(sentence, silent(int(seconds * self.rate)), phones=line)
        if not anything:
            raise UnsayableError(f"eSpeak NG can say nothing of {text!r} in {LANGUAGES[m.language]!r}")

    def _by_model(self, text: str, acoustic: AcousticModel) -> Iterator[Recording]:
        m = self._manner
        for frames in acoustic.speak(text, m.language, self._said_by, m.speed, m.pitch):
            line = timeline(frames.phones, len(frames) * frames.settings.frame_s)
            if self._voice.phones:
                self._name_strange(line)
            yield Recording("", silent(round(line.end * self.rate)), phones=line, frames=frames)

    def _name_strange(self, line: Timeline) -> None:
        if strange := sorted(set(line.names) - set(self._voice.phones) - self._named):
            self._named.update(strange)
            self._say(f"the run never learned the phones {' '.join(strange)}; where they come, it says what it likes")


def speak_to(run: Path, texts: Iterable[str], manner: Manner, draws: Draws, out: str, say: Say = print) -> Written:
    """Write texts, said by the network one after the other, to `out`, as `write`.

    One in which there is nothing to say is told and passed over. UserError for what does not fit together, and where
    nothing was said at all.
    """
    check_out(out)
    speaker = Speaker(run, manner, draws, say)

    def chunks() -> Iterator[Floats]:
        for text in texts:
            try:
                yield from speaker.says(text)
            except UnsayableError as error:
                say(f"skipped: {error}")

    return write(chunks(), speaker.rate, out)


def _check(run: Path, config: WaveNetConfig, manner: Manner) -> None:
    conditions, acoustic = config.data.conditions, manner.acoustic
    if conditions not in ("phones", *FRAMED):
        raise UserError(
            f"run {str(run)!r} was trained with data.conditions={conditions}, and does not speak; expected a run with "
            f"one of phones, {', '.join(FRAMED)}"
        )
    if manner.language not in LANGUAGES:
        hint = did_you_mean(manner.language, LANGUAGES)
        raise UserError(f"--language {manner.language!r}: expected one of {', '.join(LANGUAGES)}.{hint}")
    if acoustic is None and conditions in FRAMED:
        raise UserError(
            f"run {str(run)!r} was trained with data.conditions={conditions}; expected --acoustic RUN, which says its "
            "frames"
        )
    if conditions not in FRAMED and manner.pitch != 1:
        raise UserError(f"--pitch {manner.pitch:g}: a run of phones alone is told no pitch; expected no --pitch")


def _opened(name: str, config: WaveNetConfig) -> AcousticModel:
    acoustic = open_acoustic(name)
    if config.data.conditions in FRAMED:
        check(acoustic.settings, config.data.frames, f"--acoustic {name!r}")
    return acoustic


def _whose(speakers: list[str], acoustic: AcousticModel | None, manner: Manner) -> tuple[str | None, str | None]:
    """Who speaks, by the names that the acoustic model and the network have for him: of each, None where it has none.

    Whom the user names; else, of the acoustic model's, the first whose name begins with the language, as `data speech`
    names its voices.
    """
    if acoustic is None:
        folder = f"{manner.language}-{manner.voice}"
        return None, manner.speaker or (folder if folder in speakers or len(speakers) > 1 else None)
    said = manner.speaker
    if said is None and acoustic.speakers:
        ours = [name for name in acoustic.speakers if name.startswith(f"{manner.language}-")]
        said = [*ours, *acoustic.speakers][0]
    one_voice = not speakers and bool(acoustic.speakers)  # whoever speaks, it sounds as the network's one voice
    sounded = manner.speaker if manner.speaker is not None and not one_voice else said if said in speakers else None
    return said if acoustic.speakers else None, sounded
