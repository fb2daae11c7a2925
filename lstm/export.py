"""The network of a run that learned speech for other programs: ONNX, checked against the run's own numbers.

Two files, for what lies between them is a program's to do: round durations, and lay tokens out over their frames.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lstm.acoustic_network import LOG_SCALE, AcousticNetwork, laid_out
from lstm.speaking import Acoustic
from lstm.tasks.phone_inputs import KINDS
from trainkit.errors import UserError, optional, os_errors
from trainkit.speech.spoken import spoken
from trainkit.words import Say

PHONES, FRAMES, NOTES = "phones.onnx", "frames.onnx", "acoustic.json"
TOLERANCE = 1e-4  # of numbers around 1
CHECKED = {  # sentences of several lengths, for the files must not depend on that of the first
    "en": (
        "The quick fox never forgets a cup of tea, does it?",
        "Yes.",
        "My little sister is looking for fresh bread.",
    ),
    "ja": ("こんにちは、せかい。げんきですか？", "はい。", "せんせいわ にわで きいろい はこを あけます。"),
}


class _Phones(nn.Module):
    """Tokens [1, K, features] -> (log(1 + frames) of each [1, K], what is known of each [1, K, D])."""

    def __init__(self, network: AcousticNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        known, log_durations = self.network.known(inputs)
        return log_durations, known


class _Frames(nn.Module):
    """What is known of tokens, and frames laid out over them as by `laid_out` -> frames [1, T, bands + 2]."""

    def __init__(self, model: Acoustic) -> None:
        super().__init__()
        self.network, self.correct = model.network, model.correct

    def forward(self, known: Tensor, places: Tensor, within: Tensor) -> Tensor:
        return self.correct(self.network.spread(known, places, within)[0])[None]


def export_to(run: Path, out: Path, say: Say) -> None:
    """Write both files, and one that says what goes in and comes out, into the folder `out`.

    UserError where a library is missing, and where a file gives other numbers than the run's own network: then
    nothing is written.
    """
    model = Acoustic(run)
    with os_errors(f"--out {str(out)!r} can't be written"):
        out.mkdir(parents=True, exist_ok=True)
    examples = [_example(model, text, language) for language in model.languages for text in CHECKED[language]]
    with tempfile.TemporaryDirectory(dir=out) as folder:
        made = Path(folder)
        _write(model, examples[0], made)
        difference = _difference(model, examples, made)
        if not difference <= TOLERANCE:
            raise UserError(f"{out}: numbers differ by {difference:.1e} from the run's; nothing is kept")
        (made / NOTES).write_text(json.dumps(description(model), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        for name in (PHONES, FRAMES, NOTES):
            (made / name).replace(out / name)
    say(f"{out / PHONES}, {out / FRAMES}: numbers differ by at most {difference:.1e} from the run's")
    say(f"{out / NOTES}: what goes in and what comes out")


def description(model: Acoustic) -> dict[str, Any]:
    """What a program that uses the files must know."""
    return {
        "features of a token, in this order": {
            "is one of, the first being a boundary": model.inputs.vocabulary,
            "stress": ["primary", "secondary"],
            "kind of boundary": KINDS,
            "places": "phones before and after in the word, words before and after in the phrase, in tenths; part of "
            "the sentence that is over; a tenth of the logarithm of its tokens",
            "language": model.languages,
            "speaker": model.speakers,
        },
        PHONES: {
            "inputs": ["1", "K", model.inputs.size],
            "log_durations": "log(1 + frames) [1, K]",
            "known": "[1, K, D]",
        },
        FRAMES: {
            "known": "as it came",
            "places": "[1, T] int64: the token that each frame is of",
            "within": f"[1, T, 4]: of a frame that p of its token's d come before: (p + 0.5) / d, then log(1 + p), "
            f"log(d - p) and log(1 + d), over {LOG_SCALE:g}",
            "frames": "[1, T, bands + 2]: mel, log F0, and the logit of voicing",
        },
        "mel and log F0 are a frame's numbers times spread plus mean": model.scale.plain(),
        "settings": model.settings.model_dump(),
    }


def _example(model: Acoustic, text: str, language: str) -> tuple[Tensor, Tensor]:
    """Inputs [1, K, features] of a sentence, and durations [1, K]: any will do."""
    inputs = model.inputs(spoken(text, language), language, next(iter(model.speakers), ""))
    durations = np.random.default_rng(len(inputs)).integers(0, 20, len(inputs))
    return torch.from_numpy(inputs)[None], torch.from_numpy(durations)[None]


def _own(model: Acoustic, example: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, ...], ...]:
    """(what phones.onnx must give, what frames.onnx takes, what that must give)."""
    log_durations, known = _Phones(model.network)(example[0])
    given = (known, *laid_out(example[1]))
    return (log_durations, known), given, (_Frames(model)(*given),)


@torch.no_grad()
def _write(model: Acoustic, example: tuple[Tensor, Tensor], folder: Path) -> None:
    optional("onnx")
    _, given, _ = _own(model, example)
    files: tuple[tuple[str, nn.Module, tuple[Tensor, ...], dict[str, str], dict[str, str]], ...] = (
        (PHONES, _Phones(model.network), example[:1], {"inputs": "K"}, {"log_durations": "K", "known": "K"}),
        (FRAMES, _Frames(model), given, {"known": "K", "places": "T", "within": "T"}, {"frames": "T"}),
    )
    for name, network, inputs, ins, outs in files:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of this way to export; the other one writes an LSTM for one length only
            torch.onnx.export(
                network.eval(), inputs, str(folder / name), input_names=[*ins], output_names=[*outs],
                dynamic_axes={key: {1: size} for key, size in {**ins, **outs}.items()}, dynamo=False,
            )  # fmt: skip


@torch.no_grad()
def _difference(model: Acoustic, examples: list[tuple[Tensor, Tensor]], folder: Path) -> float:
    """The largest from the run's own numbers, over all of the files' outputs."""
    library = optional("onnxruntime")
    phones, frames = (
        library.InferenceSession(str(folder / name), providers=["CPUExecutionProvider"]) for name in (PHONES, FRAMES)
    )
    largest = 0.0
    for example in examples:
        tokens, given, wanted = _own(model, example)
        first = phones.run(None, {"inputs": example[0].numpy()})
        second = frames.run(None, {key: x.numpy() for key, x in zip(("known", "places", "within"), given, strict=True)})
        for found, own in zip((*first, *second), (*tokens, *wanted), strict=True):
            largest = max(largest, float(np.abs(found - own.numpy()).max()))
    return largest
