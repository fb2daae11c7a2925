"""A run that begins with the weights of another one, to learn another voice or to go on with other data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from trainkit import checkpoints as files
from trainkit.checkpoints import WEIGHTS, newest
from trainkit.errors import UserError
from wavenet import checkpoint
from wavenet.config import PRESETS, WaveNetConfig
from wavenet.corpus import Corpus
from wavenet.model import WaveNet

SPEAKERS = "conditions.speaker.weight"
# What the weights mean depends on these.
KEPT = ("model.", "data.conditions", "data.sample_rate", "data.mels", "data.frames.")


def settings_from(run: str, words: Sequence[str]) -> WaveNetConfig:
    """The settings of a new run that begins with the weights of `run`: that one's own, with `words` on top.

    UserError for a word that is no KEY=VALUE, or that would change what the weights are of.
    """
    for word in words:
        key = word.partition("=")[0].strip()
        if "=" not in word or key.startswith(KEPT):
            raise UserError(
                f"command line: --from takes the settings of its run; expected KEY=VALUE, and nothing of "
                f"{', '.join(KEPT)}, got {word!r}"
            )
    folder = PRESETS.open(run)
    newest(folder)  # a run without a checkpoint is told now
    return PRESETS.load_run(folder, [*words, f"training.init_from={str(folder.absolute())!r}"])


def refuse_misfit(config: WaveNetConfig, corpus: Corpus) -> None:
    """UserError where the run that training begins with lacks phones or speakers for the corpus."""
    run = str(config.training.init_from)
    speakers, phones = checkpoint.known(Path(run))
    if strange := sorted({name for r in [*corpus.train, *corpus.validation] if r.phones for name in r.phones.names}
                         - set(phones)):  # fmt: skip
        raise UserError(f"run {run!r} never learned the phones {' '.join(strange)}, which data.folder has")
    if corpus.speakers and not speakers:
        raise UserError(f"run {run!r} tells no speakers apart; expected data.speakers=none")


def begun(config: WaveNetConfig, model: WaveNet) -> dict[str, Tensor]:
    """The weights to use of the run that training begins with, for `model`.

    A speaker that it does not know begins as the mean of those that it knows.
    """
    weights = files.weights(newest(Path(str(config.training.init_from))) / WEIGHTS)
    more = model.config.speakers - len(weights.get(SPEAKERS, ()))
    if more > 0:
        known = weights[SPEAKERS]
        weights[SPEAKERS] = torch.cat([known, known.mean(0, keepdim=True).expand(more, -1)])
    return weights
