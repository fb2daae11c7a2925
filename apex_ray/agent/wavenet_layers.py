"""Blocks of WaveNet over sequences in which episodes begin anew, all steps at once, and over single steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from apex_ray.agent.heads import FullPrecision
from wavenet.config import ModelConfig
from wavenet.model import Block


class WaveNetLayers(FullPrecision):
    """Its state, `past` [B, reach, residual], has each block's last inputs, one block's after the other's, the oldest
    first.
    """

    def __init__(self, inputs: int, cycles: int, layers: int, kernel: int, residual: int, skip: int) -> None:
        super().__init__()
        config = ModelConfig(cycles=cycles, layers_per_cycle=layers, kernel=kernel, residual=residual, skip=skip)
        self._kernel, self._dilations, self.num_features = kernel, config.dilations, skip
        self.input = nn.Linear(inputs, residual)
        self.blocks = cast(Sequence[Block], nn.ModuleList(Block(config, d) for d in config.dilations))

    def step(self, x: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """One step x [B, D] -> [B, skip], and the state after it."""
        y, past, total = self.input(x), state["past"], None
        kept, begin = list[Tensor](), 0
        for block, dilation in zip(self.blocks, self._dilations, strict=True):
            end = begin + (self._kernel - 1) * dilation
            kept += [past[:, begin + 1 : end], y[:, None]]
            taps = [y, *(past[:, end - i * dilation] for i in range(1, self._kernel))]
            y, skip = block.step(taps, None, None)
            total = skip if total is None else total + skip
            begin = end
        return torch.relu(cast(Tensor, total)), {"past": torch.cat(kept, dim=1)}

    def forward(self, x: Tensor, state: Mapping[str, Tensor], first: Tensor, burn_in: int) -> Tensor:
        """Sequences x [B, P, D], of which no state is known, and which of their steps begin an episode, first [B, P] ->
        what is put out after `burn_in` steps, [B, P - burn_in, skip].
        """
        length = x.shape[1]
        steps = torch.arange(length, device=x.device)
        begun = torch.where(first, steps, 0).cummax(dim=1).values  # where each step's episode begins, or the sequence
        ages, y, at, total = steps - begun, self.input(x), 0, None
        starts = [burn_in]  # of what each block puts out, the last one's first: no more than later ones need
        for dilation in reversed(self._dilations[1:]):
            starts.append(max(starts[-1] - (self._kernel - 1) * dilation, 0))
        for block in self.blocks:
            start = starts.pop()
            y, skip = block(y, None, None, start - at, length - burn_in, ages[:, at:])
            total, at = skip if total is None else total + skip, start
        return torch.relu(cast(Tensor, total))
