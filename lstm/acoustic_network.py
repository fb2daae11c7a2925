"""The network of speech: phones -> how long each lasts; phones laid out over those times -> frames.

Both parts read from both ends. A sentence is whole before it is said, and its frames take a hundredth of its time: to
look only some way ahead would save nothing, and would not let a question rise from its beginning.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from lstm.bidirectional import Bidirectional
from lstm.cell import State
from lstm.config import ModelConfig
from lstm.shape import Shape

PLACE = 4  # numbers that say where a frame is in its token
LOG_SCALE = 3.0  # logarithms of frames are divided by it: 20 frames are 1
MOMENTUM = 0.98  # of the running means of what is said


class Said(NamedTuple):
    """What the network says."""

    frames: Tensor  # [B, T, bands + 2]: mel and log F0 as trainkit/speech/scale.py scales them, logits of voicing
    log_durations: Tensor  # [B, K]: log(1 + frames) of each token


class AcousticNetwork(nn.Module):
    """Inputs [B, K, features] and durations [B, K] in frames -> Said, and () for there is no state to carry on.

    The first feature says of a token that it is a boundary, and no phone.
    """

    said_mean: Tensor  # [bands + 1], of the phones' frames; that of log F0 of those that are voiced
    said_square: Tensor  # [bands + 1], mean square

    def __init__(self, config: ModelConfig, shape: Shape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        self.enter = nn.Linear(shape.features, config.embedding)
        self.phones = Bidirectional(config, config.embedding)
        known = config.embedding + self.phones.outputs
        self.durations = nn.Linear(known, 1)
        self.frames = Bidirectional(config, known + PLACE)
        self.readout = nn.Linear(self.frames.outputs, shape.outputs)
        self.register_buffer("said_mean", torch.zeros(shape.outputs - 1))
        self.register_buffer("said_square", torch.ones(shape.outputs - 1))

    def forward(self, inputs: Tensor, durations: Tensor, lengths: Tensor | None = None) -> tuple[Said, State]:
        """`lengths` [B]: tokens of each sequence."""
        known, log_durations = self.known(inputs, lengths)
        places, within = laid_out(durations)
        frames = self.spread(known, places, within, durations.sum(1))
        if self.training:
            steps = torch.arange(places.shape[1], device=places.device)
            phones = (inputs[..., 0].gather(1, places) == 0) & (steps < durations.sum(1)[:, None])
            self._watch(frames.detach().float(), phones)
        return Said(frames, log_durations), ()

    def known(self, inputs: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(what is known of each token, [B, K, D]; log(1 + frames) that it lasts, [B, K])."""
        tokens = self.enter(inputs)
        known = torch.cat([tokens, self._dropped(self.phones(tokens, lengths))], -1)
        return known, self.durations(known).squeeze(-1)

    def spread(self, known: Tensor, places: Tensor, within: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Frames [B, T, bands + 2] of what is known of tokens, laid out by `laid_out`."""
        each = known.gather(1, places[..., None].expand(-1, -1, known.shape[-1]))
        frames: Tensor = self.readout(self._dropped(self.frames(torch.cat([each, within], -1), lengths)))
        return frames

    def _dropped(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.config.dropout, self.training)

    @torch.no_grad()
    def _watch(self, frames: Tensor, phones: Tensor) -> None:
        """Running means over what is said while learning, as batch normalisation keeps them."""
        values, voiced = frames[..., :-1][phones], frames[..., -1][phones] > 0
        some = torch.ones_like(values, dtype=torch.bool)
        some[:, -1] = voiced
        count = some.sum(0)
        for kept, now in ((self.said_mean, values), (self.said_square, values**2)):
            mean = (now * some).sum(0) / count.clamp(min=1)
            kept.copy_(torch.where(count > 0, MOMENTUM * kept + (1 - MOMENTUM) * mean, kept))


def laid_out(durations: Tensor) -> tuple[Tensor, Tensor]:
    """Of durations [B, K] in frames: (the token of each frame, [B, T] int64; where in it the frame is, [B, T, PLACE]).

    T is the longest sequence's; what comes after the end of another is of no use.
    """
    ends = durations.cumsum(1)
    steps = torch.arange(int(ends[:, -1].max()), device=durations.device).expand(len(ends), -1).contiguous()
    places = torch.searchsorted(ends, steps, right=True).clamp(max=durations.shape[1] - 1)
    lasts = durations.gather(1, places).clamp(min=1)
    passed = torch.minimum(steps - (ends - durations).gather(1, places), lasts - 1).float()
    lasts = lasts.float()
    logs = (torch.log1p(passed), torch.log1p(lasts - 1 - passed), torch.log1p(lasts))
    return places, torch.stack([(passed + 0.5) / lasts, *(log / LOG_SCALE for log in logs)], -1)
