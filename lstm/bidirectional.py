"""Layers of cells that read a sequence from both ends (Schuster & Paliwal 1997): each output knows all of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lstm.config import ModelConfig
from lstm.recurrent import Recurrent


class Bidirectional(nn.Module):
    """x [B, T, D] -> what both directions of the last layer put out, [B, T, 2 R]; nothing is carried on."""

    def __init__(self, config: ModelConfig, inputs: int) -> None:
        super().__init__()
        one = config.model_copy(update={"layers": 1})
        self.outputs = 2 * (config.projection or config.hidden)
        sizes = [inputs] + [self.outputs] * (config.layers - 1)
        self.dropout = config.dropout
        self.there = nn.ModuleList(Recurrent(one, size) for size in sizes)
        self.back = nn.ModuleList(Recurrent(one, size) for size in sizes)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """With `lengths` [B] sequence b has only that many steps: what comes after them changes nothing in them."""
        for k, (there, back) in enumerate(zip(self.there, self.back, strict=True)):
            if k:
                x = functional.dropout(x, self.dropout, self.training)
            # Padding lies at the end for both directions, where it is read last: nothing needs to be packed.
            x = torch.cat([there(x)[0], turned(back(turned(x, lengths))[0], lengths)], -1)
        return x


def turned(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Each sequence of x [B, T, D] from its last step to its first; padding stays where it is."""
    if lengths is None:
        return x.flip(1)
    steps = torch.arange(x.shape[1], device=x.device)
    places = lengths[:, None] - 1 - steps
    return x.gather(1, torch.where(places < 0, steps, places)[..., None].expand_as(x))
