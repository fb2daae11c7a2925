"""How far what a network says is from recordings of held-out texts, beside a linear map of its inputs, and means."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lstm.acoustic_network import AcousticNetwork, laid_out
from lstm.speaking import Correction
from lstm.tasks.speech import Speech
from trainkit.speech.aligned import Recording
from trainkit.speech.cepstra import cepstra, decibels
from trainkit.speech.frames import Floats
from trainkit.words import Say, quiet

Numbers = npt.NDArray[np.float64]
# (scaled mel and log F0 with voicing as 0 to 1, [T, bands + 2]; log(1 + frames) of each token, [K]) of a recording, at
# its own times
Says = Callable[[Recording], tuple[Numbers, Numbers]]
RIDGE = 1.0  # added to the normal equations' diagonal: phones may never come
HEAD = f"{'':<28}{'F0, cents':>11}{'voicing':>9}{'phones, ms':>12}{'mel, dB':>9}{'spread':>8}"


@dataclass
class Score:
    """Errors over recordings, at the recordings' own times."""

    f0: list[Numbers] = field(default_factory=list)  # cents, where both are voiced
    voicing: list[Numbers] = field(default_factory=list)  # whether it is wrong
    phones: list[Numbers] = field(default_factory=list)  # ms by which a phone's length is wrong
    cepstral: list[Numbers] = field(default_factory=list)  # dB, in the frames of phones
    said: list[Numbers] = field(default_factory=list)  # scaled mel of phones' frames
    recorded: list[Numbers] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """Root mean square of F0's error, share of frames with wrong voicing, mean error of a phone's length, mean
        mel-cepstral distance, and the mel bands' standard deviation as part of the recordings' (below 1: smoothed).
        """
        f0, voicing, phones, cepstral, said, recorded = (
            np.concatenate(some)
            for some in (self.f0, self.voicing, self.phones, self.cepstral, self.said, self.recorded)
        )
        return {
            "F0, cents": float(np.sqrt((f0**2).mean())) if len(f0) else float("nan"),
            "voicing": float(voicing.mean()),
            "phones, ms": float(np.abs(phones).mean()),
            "mel, dB": float(cepstral.mean()),
            "spread": float((said.std(0) / recorded.std(0)).mean()),
        }

    def add(self, task: Speech, recording: Recording, said: tuple[Numbers, Numbers]) -> None:
        numbers, log_durations = said
        settings, scale = recording.settings, task.scale
        real = recording.frames()
        boundaries = np.array([token.boundary for token in recording.aligned.tokens])
        phones = ~np.repeat(boundaries, recording.durations)
        restored = scale.restored(numbers.astype(np.float32), settings)
        both = restored.voiced & real.voiced
        self.f0.append(1_200 / np.log(2) * (restored.log_f0 - real.log_f0)[both].astype(np.float64))
        self.voicing.append((restored.voiced != real.voiced).astype(np.float64))
        frames = np.expm1(log_durations) - recording.durations
        self.phones.append(1_000 * settings.frame_s * frames[~boundaries])
        natural = 1.0 if settings.log_base == "e" else np.log(10)
        difference = cepstra(natural * restored.mel[phones]) - cepstra(natural * real.mel[phones])
        self.cepstral.append(decibels(difference))
        self.said.append(numbers[phones, :-2])
        self.recorded.append(scale.normalised(real)[phones, :-2].astype(np.float64))


def speech_scores(network: AcousticNetwork, task: Speech, say: Say = quiet) -> dict[str, dict[str, float]]:
    """Figures by the name of what says the frames, over all held-out recordings."""
    found: dict[str, dict[str, float]] = {}
    ways: dict[str, Says] = {
        "LSTM": lambda r: _by_network(network, task, r, task.config.variance),
        "LSTM, without its spread": lambda r: _by_network(network, task, r, 0.0),
        **simpler(task, say),
    }
    for name, says in ways.items():
        score = Score()
        for number, recording in enumerate(task.corpus.validation, 1):
            say(f"{name}: held-out recording {number:,}")
            score.add(task, recording, says(recording))
        found[name] = score.figures()
    return found


def score_lines(found: dict[str, dict[str, float]]) -> Iterator[str]:
    """A table."""
    yield HEAD
    for name, f in found.items():
        yield (
            f"{name:<28}{f['F0, cents']:>11.0f}{f['voicing']:>9.1%}{f['phones, ms']:>12.1f}{f['mel, dB']:>9.2f}"
            f"{f['spread']:>8.2f}"
        )


@torch.inference_mode()
def _by_network(network: AcousticNetwork, task: Speech, recording: Recording, amount: float) -> tuple[Numbers, Numbers]:
    inputs = task.inputs(recording.aligned.tokens, recording.aligned.language, recording.speaker)
    said, _ = network(torch.from_numpy(inputs)[None], torch.from_numpy(recording.durations)[None])
    corrected = Correction(network, torch.tensor(task.spread, dtype=torch.float32), amount)(said.frames[0])
    corrected[:, -1] = torch.sigmoid(corrected[:, -1])
    return corrected.double().numpy(), said.log_durations[0].double().numpy()


def simpler(task: Speech, say: Say = quiet) -> dict[str, Says]:
    """A linear map of a token, the two beside it and the place in it, by least squares; and means, of durations those
    of phones and of boundaries.
    """
    squares: list[Any] = [0.0, 0.0, 0.0, 0.0]  # X'X and X'Y of frames, then of tokens
    lengths: tuple[list[Numbers], list[Numbers]] = ([], [])
    voiced = list[Numbers]()
    for number, recording in enumerate(task.corpus.train, 1):
        say(f"linear map: recording {number:,} of {len(task.corpus.train):,}")
        tokens, frames = _features(task, recording)
        wanted = task.scale.normalised(recording.frames()).astype(np.float64)
        lasting = np.log1p(recording.durations.astype(np.float64))
        for i, (x, y) in enumerate(((frames, wanted), (tokens, lasting[:, None]))):
            squares[2 * i] = squares[2 * i] + x.T @ x
            squares[2 * i + 1] = squares[2 * i + 1] + x.T @ y
        voiced.append(wanted[:, -1])
        for token, log in zip(recording.aligned.tokens, lasting, strict=True):
            lengths[token.boundary].append(log)
    of_frames, of_tokens = (
        np.linalg.solve(squares[i] + RIDGE * np.eye(len(squares[i])), squares[i + 1]) for i in (0, 2)
    )
    share, means = float(np.concatenate(voiced).mean()), [float(np.mean(some)) for some in lengths]

    def linear(recording: Recording) -> tuple[Numbers, Numbers]:
        tokens, frames = _features(task, recording)
        return frames @ of_frames, (tokens @ of_tokens)[:, 0]

    def mean(recording: Recording) -> tuple[Numbers, Numbers]:
        numbers = np.zeros((recording.count, len(task.scale.mean) + 1))
        numbers[:, -1] = share
        return numbers, np.array([means[token.boundary] for token in recording.aligned.tokens])

    return {"linear map": linear, "mean": mean}


def _features(task: Speech, recording: Recording) -> tuple[Numbers, Numbers]:
    """What the linear map is told: of tokens [K, ...], and of frames [T, ...]."""
    inputs = task.inputs(recording.aligned.tokens, recording.aligned.language, recording.speaker)
    zeros = np.zeros_like(inputs[:1])
    beside: Sequence[Floats] = (np.concatenate([zeros, inputs[:-1]]), np.concatenate([inputs[1:], zeros]))
    tokens = np.column_stack([inputs, *beside, np.ones(len(inputs))]).astype(np.float64)
    places, within = laid_out(torch.from_numpy(recording.durations)[None])
    return tokens, np.column_stack([tokens[places[0].numpy()], within[0].numpy()])
