"""Layers of cells over whole sequences: step by step as written in cell.py, or by torch's fused kernels.

Both compute the same; `fused` is the fast one for training, the written one is faster for single steps, knows layer
norm and peepholes, and shows its gates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from lstm.cell import Cell, Gates, LstmCell, RnnCell, State, begin_gates
from lstm.config import ModelConfig


class Recurrent(nn.Module):
    """x [B, T, D] -> what the last layer puts out, [B, T, R], and the state after the last step.

    A state is (output [layers, B, R],), and for an LSTM (output, memory [layers, B, H]): given again with the steps
    that follow, it makes them one sequence with those before.
    """

    def __init__(self, config: ModelConfig, inputs: int, fused: bool | None = None) -> None:
        """`fused` None: as configured."""
        super().__init__()
        self.config, self.inputs = config, inputs
        self.fused = config.runs_fused if fused is None else fused
        self.outputs = config.projection or config.hidden
        self.cells = nn.ModuleList() if self.fused else nn.ModuleList(_cells(config, inputs))
        self.kernel = _kernel(config, inputs) if self.fused else None
        if config.cell == "lstm":
            for bias_ih, bias_hh in self._biases():
                begin_gates(bias_ih, bias_hh, config.forget_bias, config.chrono_steps)

    def _biases(self) -> Sequence[tuple[Tensor, Tensor]]:
        if self.kernel is not None:
            layers = range(self.config.layers)
            return [(getattr(self.kernel, f"bias_ih_l{k}"), getattr(self.kernel, f"bias_hh_l{k}")) for k in layers]
        return [(cell.bias_ih, cell.bias_hh) for cell in cast(Sequence[Cell], self.cells)]

    def forward(self, x: Tensor, state: State | None = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """With `lengths` [B] (int64), sequence b has only that many steps: outputs after them are 0, and the state is
        the one after its last step.
        """
        if self.kernel is not None:
            return self._fused(self.kernel, x, state, lengths)
        outputs, layers = x, list[State]()
        for k, cell in enumerate(cast(Sequence[Cell], self.cells)):
            before = cell.start(len(x)) if state is None else tuple(part[k] for part in state)
            if k:
                outputs = functional.dropout(outputs, self.config.dropout, self.training)
            outputs, after = _unrolled(cell, outputs, before, lengths)
            layers.append(after)
        return outputs, tuple(torch.stack(parts) for parts in zip(*layers, strict=True))

    def _fused(
        self, kernel: nn.RNNBase, x: Tensor, state: State | None, lengths: Tensor | None
    ) -> tuple[Tensor, State]:
        given: Any = state[0] if state is not None and len(state) == 1 else state
        steps: Tensor | PackedSequence = x
        if lengths is not None:
            steps = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, after = kernel(steps, given)
        if lengths is not None:
            outputs, _ = pad_packed_sequence(outputs, batch_first=True, total_length=x.shape[1])
        return outputs, after if isinstance(after, tuple) else (after,)

    @torch.no_grad()
    def gates(self, x: Tensor) -> list[Gates]:
        """What each layer of a written LSTM does with x [B, T, D]: each gate [B, T, H]."""
        shown = list[Gates]()
        for cell in cast(Sequence[LstmCell], self.cells):
            state, steps, outputs = cell.start(len(x)), list[Gates](), list[Tensor]()
            for driven in cell.driven(x).unbind(1):
                state, gates = cell.step_with_gates(driven, state)
                steps.append(gates)
                outputs.append(state[0])
            shown.append(Gates(*(torch.stack(parts, 1) for parts in zip(*steps, strict=True))))
            x = torch.stack(outputs, 1)
        return shown

    def written(self) -> Recurrent:
        """The same network with the same weights, step by step."""
        if self.kernel is None:
            return self
        twin = Recurrent(self.config, self.inputs, fused=False).to(next(self.parameters()))
        twin.load_state_dict({_written_name(name): p for name, p in self.state_dict().items()})
        return twin.train(self.training)


def _cells(config: ModelConfig, inputs: int) -> list[Cell]:
    sizes = [inputs] + [config.projection or config.hidden] * (config.layers - 1)
    if config.cell == "rnn":
        return [RnnCell(size, config.hidden, config.nonlinearity) for size in sizes]
    options = (config.projection, config.peepholes, config.layer_norm)
    return [LstmCell(size, config.hidden, *options) for size in sizes]


def _kernel(config: ModelConfig, inputs: int) -> nn.RNNBase:
    common: dict[str, Any] = {"num_layers": config.layers, "batch_first": True, "dropout": config.dropout}
    if config.layers == 1:
        del common["dropout"]  # there is nothing between the layers
    if config.cell == "rnn":
        return nn.RNN(inputs, config.hidden, nonlinearity=config.nonlinearity, **common)
    return nn.LSTM(inputs, config.hidden, proj_size=config.projection, **common)


def _written_name(name: str) -> str:
    """cells.0.weight_ih of kernel.weight_ih_l0."""
    parameter, _, layer = name.removeprefix("kernel.").rpartition("_l")
    return f"cells.{layer}.{parameter}"


def _unrolled(cell: Cell, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
    outputs = list[Tensor]()
    for t, driven in enumerate(cell.driven(x).unbind(1)):
        after = cell.step(driven, state)
        if lengths is not None:
            goes_on = (t < lengths)[:, None]
            outputs.append(torch.where(goes_on, after[0], 0.0))
            after = tuple(torch.where(goes_on, new, old) for new, old in zip(after, state, strict=True))
        else:
            outputs.append(after[0])
        state = after
    return torch.stack(outputs, 1), state
