"""An LSTM over sequences in which episodes begin anew, and over single steps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from apex_ray.agent.heads import FullPrecision
from lstm.config import ModelConfig
from lstm.recurrent import Recurrent

STATE = ("hidden", "memory")


class LstmLayers(FullPrecision):
    """States are [B, layers, units] each, by name."""

    def __init__(self, inputs: int, units: int, layers: int, forget_bias: float) -> None:
        super().__init__()
        self.recurrent = Recurrent(ModelConfig(hidden=units, layers=layers, forget_bias=forget_bias), inputs)
        self.num_features = self.recurrent.outputs

    def step(self, x: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """One step x [B, D] -> [B, units], and the state after it."""
        outputs, after = self.recurrent(x[:, None], self._layers_first(state))
        return outputs[:, 0], dict(zip(STATE, (part.transpose(0, 1) for part in after), strict=True))

    def forward(self, x: Tensor, state: Mapping[str, Tensor], first: Tensor, burn_in: int) -> Tensor:
        """Sequences x [B, P, D], the state before them, and which of their steps begin an episode, first [B, P] -> what
        is put out after `burn_in` steps, [B, P - burn_in, units]. No gradient goes through these.
        """
        before = self._layers_first(state)
        if burn_in:
            with torch.no_grad():
                _, before = self._unrolled(x[:, :burn_in], before, first[:, :burn_in])
                begins = first[:, burn_in, None]
                before = tuple(part.masked_fill(begins, 0.0) for part in before)
        outputs, _ = self._unrolled(x[:, burn_in:], before, first[:, burn_in:])
        return outputs

    def _layers_first(self, state: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        return tuple(state[name].transpose(0, 1).contiguous() for name in STATE)

    def _unrolled(self, x: Tensor, state: tuple[Tensor, ...], first: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """[B, P, units], and the state after the last step. What begins at step 0 has its state already.

        Each episode's part of a sequence becomes a row of its own, so that one call computes all of them.
        """
        size, length = first.shape
        begins = first.clone()
        begins[:, 0] = True
        row, start = begins.nonzero(as_tuple=True)  # in order of rows, then steps
        if len(row) == size:
            return self.recurrent(x, state)  # type: ignore[no-any-return]
        ends = torch.where(row[1:] == row[:-1], start[1:], length)
        lengths = torch.cat([ends, ends.new_tensor([length])]) - start
        steps = torch.arange(int(lengths.max()), device=x.device)
        there = steps < lengths[:, None]
        at = (start[:, None] + steps).clamp(max=length - 1)
        pieces = x[row[:, None], at]
        begun = tuple(part[:, row] * (start == 0)[:, None] for part in state)
        found, after = self.recurrent(pieces, begun, lengths)
        outputs = found.new_empty(size, length, found.shape[-1])
        outputs[row[:, None].expand_as(at)[there], at[there]] = found[there]
        last = torch.cat([row[1:] != row[:-1], row.new_ones(1, dtype=torch.bool)])  # each row's last piece
        return outputs, tuple(part[:, last] for part in after)
