"""From a run that learned speech to frames of any text, sentence by sentence; and to sound by Griffin-Lim."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from torch import Tensor

from lstm import checkpoint
from lstm.acoustic_network import AcousticNetwork, laid_out
from lstm.tasks.phone_inputs import PhoneInputs
from trainkit.command_line import output_file
from trainkit.errors import UserError, did_you_mean, os_errors
from trainkit.sound import SUFFIXES, UnusableError, length
from trainkit.speech import frames as frames_file
from trainkit.speech.aligned import read_aligned, speaker_names
from trainkit.speech.espeak import UnsayableError
from trainkit.speech.frame_settings import FrameSettings
from trainkit.speech.frames import Frames
from trainkit.speech.griffin_lim import griffin_lim
from trainkit.speech.reading import sentences
from trainkit.speech.scale import Scale
from trainkit.speech.spoken import LANGUAGES, Token, spoken
from trainkit.words import Say, printable

FORMATS = {".wav": "WAV", ".flac": "FLAC"}
LONGEST_S = 3.0  # of one phone or pause, however slowly it is said
EXTREME = 4.0  # of speed and pitch: the most, and the least is one over it


class Acoustic:
    """`trainkit.speech.acoustic.AcousticModel` of a run; what the entry point gives."""

    def __init__(self, run: Path) -> None:
        self._name, facts = str(run), checkpoint.facts(run)
        self.network: AcousticNetwork = checkpoint.load_acoustic(run)
        section = checkpoint.load_config_of(run).speech
        assert section is not None, "its network is one of speech"
        self._settings = section.frames
        self.inputs, self.scale = PhoneInputs.read(facts["inputs"]), Scale.read(facts["scale"])
        self._voices: dict[str, list[str]] = facts["voices"]
        self.strange = set[str]()  # phones that were to be said so far, and had not been learned
        natural = torch.tensor(facts["spread"], dtype=torch.float32)
        self.correct = Correction(self.network, natural, section.variance)

    @property
    def settings(self) -> FrameSettings:
        return self._settings

    @property
    def languages(self) -> Sequence[str]:
        return self.inputs.languages

    @property
    def speakers(self) -> Sequence[str]:
        return self.inputs.speakers

    def speak(
        self, text: str, language: str = "en", speaker: str | None = None, speed: float = 1.0, pitch: float = 1.0
    ) -> Iterator[Frames]:
        """As the protocol says. A sentence in which there is nothing to say is passed over, unless all are such: that
        shows with the first frames, other mistakes at once.
        """
        for name, value in (("speed", speed), ("pitch", pitch)):
            if not 1 / EXTREME <= value <= EXTREME:
                raise UserError(f"{name} {value:g}: expected {1 / EXTREME:g} to {EXTREME:g}")
        if language not in self.languages:
            raise UserError(
                f"language {language!r}: run {self._name!r} learned {', '.join(self.languages)}; expected one of these"
            )
        return self._said(text, language, self._speaker(language, speaker), speed, pitch)

    def _said(self, text: str, language: str, speaker: str, speed: float, pitch: float) -> Iterator[Frames]:
        anything = False
        for sentence in sentences(text, LANGUAGES[language]):
            try:
                tokens = spoken(sentence, language)
            except UnsayableError:
                continue
            anything = True
            self.strange |= {token.name for token in tokens} - {*self.inputs.vocabulary}
            yield self._frames(tokens, language, speaker, None, speed, pitch)
        if not anything:
            raise UnsayableError(f"eSpeak NG can say nothing of {text!r} in {LANGUAGES[language]!r}")

    def resay(self, recording: Path, speaker: str | None = None) -> Frames:
        """As the protocol says; UnusableError, with the reason, where the .json beside it can't be used."""
        aligned = read_aligned(recording)
        count = self.settings.frames(length(recording, self.settings.sample_rate))
        durations = aligned.durations(count, self.settings.frame_s)
        who = self._speaker(aligned.language, speaker or (recording.parent.name if len(self.speakers) > 1 else None))
        return self._frames(aligned.tokens, aligned.language, who, durations, 1.0, 1.0)

    def _speaker(self, language: str, name: str | None) -> str:
        if name is None:
            return next((who for who, learned in self._voices.items() if language in learned), "")
        if name not in self.speakers:
            known = ", ".join(self.speakers) or "none: it has one voice"
            raise UserError(f"speaker {name!r}: expected one of {known}.{did_you_mean(name, self.speakers)}")
        return name

    @torch.inference_mode()
    def _frames(
        self,
        tokens: Sequence[Token],
        language: str,
        speaker: str,
        durations: npt.NDArray[np.int64] | None,
        speed: float,
        pitch: float,
    ) -> Frames:
        """`durations` None: those that the network says."""
        known, log_durations = self.network.known(torch.from_numpy(self.inputs(tokens, language, speaker))[None])
        if durations is None:
            longest = int(LONGEST_S / self.settings.frame_s)
            lasting = durations_said(log_durations[0], [token.boundary for token in tokens], speed, longest)
        else:
            lasting = torch.from_numpy(durations)
        places, within = laid_out(lasting[None])
        numbers = self.correct(self.network.spread(known, places, within)[0])
        numbers[:, -1] = torch.sigmoid(numbers[:, -1])
        said = self.scale.restored(numbers.numpy(), self.settings)
        phones = starts(tokens, lasting.tolist(), self.settings.frame_s)
        return Frames(self.settings, said.mel, said.log_f0 + np.float32(math.log(pitch)), said.voiced, phones)


def starts(tokens: Sequence[Token], durations: Sequence[int], frame_s: float) -> tuple[tuple[float, str], ...]:
    """(start in seconds, name with its stress) of each token that lasts, from `durations` in frames."""
    ends = accumulate(durations)
    return tuple(
        (frame_s * (end - frames), ("'" if token.stress == 1 else "") + token.name)
        for token, frames, end in zip(tokens, durations, ends, strict=True)
        if frames
    )


def durations_said(log_durations: Tensor, boundaries: Sequence[bool], speed: float, longest: int) -> Tensor:
    """Frames of each token [K], int64, of log(1 + frames): a phone has at least one, a boundary may have none."""
    least = torch.tensor([0 if boundary else 1 for boundary in boundaries])
    frames = torch.round(torch.expm1(log_durations) / speed).to(torch.int64)
    return torch.clamp(frames, max=longest).maximum(least)


class Correction:
    """Gives frames the spread that they lose by being means of what could be said: each band's values are moved away
    from its mean by the ratio of a voice's standard deviation to the network's own, to the power `amount`.

    (Silén, Helander, Nurminen & Gabbouj 2012, "Ways to implement global variance in statistical speech synthesis": the
    spread is that of the corpus, not of each sentence.)
    """

    def __init__(self, network: AcousticNetwork, natural: Tensor, amount: float) -> None:
        """`natural` [bands + 1]: standard deviations over the corpus' phones."""
        self.mean = network.said_mean
        said = (network.said_square - self.mean**2).clamp(min=1e-4).sqrt()
        self.factor = (natural / said).clamp(min=1.0) ** amount

    def __call__(self, numbers: Tensor) -> Tensor:
        """Of scaled mel and log F0 with voicing, [T, bands + 2]."""
        return torch.cat([(numbers[:, :-1] - self.mean) * self.factor + self.mean, numbers[:, -1:]], 1)


def speak_to(
    run: Path, text: str, language: str, speaker: str | None, speed: float, pitch: float, out: str, say: Say
) -> None:
    """Write what a run says of a text: frames (.npz), or sound by Griffin-Lim (.wav, .flac), sentence by sentence."""
    path = output_file("--out", out)
    suffix = path.suffix.lower()
    if suffix != frames_file.ENDING and suffix not in FORMATS:
        raise UserError(f"--out {out!r}: expected a name that ends in .npz, .wav or .flac")
    if suffix in FORMATS and pitch != 1:
        raise UserError(
            f"--pitch {pitch:g}: Griffin-Lim sounds the spectrum, not F0; expected --out FILE.npz, for a vocoder"
        )
    model = Acoustic(run)
    parts = model.speak(text, language, speaker, speed, pitch)
    settings = model.settings
    if suffix == frames_file.ENDING:
        whole = frames_file.joined(list(parts))
        frames_file.save(whole, path)
        _tell_strange(model, say)
        say(f"{out}: {len(whole):,} frames, {len(whole) * settings.frame_s:.1f} s: {settings.describe()}")
        return
    first = next(parts)  # mistakes in the text show before the file is there
    with (
        os_errors(f"--out {out!r} can't be written"),
        soundfile.SoundFile(path, "w", settings.sample_rate, 1, "PCM_16", format=FORMATS[suffix]) as file,
    ):
        for some in (first, *parts):
            file.write(griffin_lim(some))
        seconds = file.tell() / settings.sample_rate
    _tell_strange(model, say)
    say(f"{out}: {seconds:.1f} s, by Griffin-Lim")


def _tell_strange(model: Acoustic, say: Say) -> None:
    if model.strange:
        names = " ".join(sorted(model.strange))
        say(f"the run never learned the phones {names}; where they come, it says what it likes")


def resay_to(run: Path, folder: Path, out: Path, say: Say) -> None:
    """Write out/NAME.npz for each recording below `folder`: what the run says of its text, at its own times."""
    model = Acoustic(run)
    if not folder.is_dir():
        raise UserError(f"--folder {str(folder)!r} does not exist; expected a folder of recordings with their phones")
    paths, count = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES), 0
    speakers = speaker_names(paths, folder) if len(model.speakers) > 1 else {}
    for path in paths:
        name = path.relative_to(folder).with_suffix(frames_file.ENDING)
        try:
            said = model.resay(path, speakers.get(path))
        except UnusableError as error:
            say(f"skipped: {printable(path.relative_to(folder))} {error}")
            continue
        with os_errors(f"{printable((out / name).parent)} can't be written"):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
        frames_file.save(said, out / name)
        count += 1
    if not count:
        raise UserError(f"--folder {str(folder)!r}: none of {len(paths)} recordings has phones that can be used")
    say(f"frames of {count} of {len(paths)} recordings, in {out}")
