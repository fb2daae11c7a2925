"""One layer's step, written as the equations: a plain recurrent network, and long short-term memory.

Parameters have the names, shapes and the order of gates (input, forget, candidate, output) of torch.nn.LSTM, so that
weights can be exchanged with its fused kernels (recurrent.py). Letters: B sequences, T steps, D inputs, H units, R
outputs (H, or the size of the projection).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

State = tuple[Tensor, ...]  # of one layer: (output [B, R],) or (output [B, R], memory [B, H])


class Gates(NamedTuple):
    """What an LSTM did at one step, each [B, H]."""

    input: Tensor  # 0 to 1: how much of the candidate is written
    forget: Tensor  # 0 to 1: how much of the memory stays
    candidate: Tensor  # -1 to 1
    output: Tensor  # 0 to 1: how much of the memory shows
    memory: Tensor  # after the step


class Cell(nn.Module):
    """Weights of one layer; `step` is for its kind to say."""

    def __init__(self, inputs: int, hidden: int, gates: int, outputs: int) -> None:
        super().__init__()
        self.hidden, self.outputs = hidden, outputs
        self.weight_ih = nn.Parameter(torch.empty(gates * hidden, inputs))
        self.weight_hh = nn.Parameter(torch.empty(gates * hidden, outputs))
        self.bias_ih = nn.Parameter(torch.empty(gates * hidden))
        self.bias_hh = nn.Parameter(torch.empty(gates * hidden))
        bound = 1 / math.sqrt(hidden)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def driven(self, x: Tensor) -> Tensor:
        """What the inputs [..., D] add to the gates, [..., gates * H]: for all steps at once."""
        return functional.linear(x, self.weight_ih, self.bias_ih)

    def start(self, size: int) -> State:
        """The state before the first step: zeros."""
        return (self.weight_hh.new_zeros(size, self.outputs),)

    def step(self, driven: Tensor, state: State) -> State:
        """The state after a step, from `driven` [B, gates * H] and the state before."""
        raise NotImplementedError


class RnnCell(Cell):
    """h' = tanh(W x + b + U h + c) (Elman 1990), or with max(0, .) for tanh."""

    def __init__(self, inputs: int, hidden: int, nonlinearity: str = "tanh") -> None:
        super().__init__(inputs, hidden, 1, hidden)
        self._activation = torch.tanh if nonlinearity == "tanh" else torch.relu

    def step(self, driven: Tensor, state: State) -> State:
        (h,) = state
        return (self._activation(driven + functional.linear(h, self.weight_hh, self.bias_hh)),)


class LstmCell(Cell):
    """Memory that is written, kept and shown through gates.

        i = sigmoid(W_i x + U_i h + b_i)        input gate
        f = sigmoid(W_f x + U_f h + b_f)        forget gate (Gers et al. 2000)
        g = tanh   (W_g x + U_g h + b_g)        candidate
        o = sigmoid(W_o x + U_o h + b_o)        output gate
        c' = f c + i g                          memory: as long as f is 1, a gradient passes it unchanged
        h' = o tanh(c')

    `projection`: h' = P (o tanh(c')), [R] (Sak et al. 2014). `peepholes`: i and f see c, o sees c', each unit its own
    (Gers & Schmidhuber 2000). `layer_norm`: W x, U h and, where it is shown, c' are normalised (Ba et al. 2016,
    equations 20 to 22).
    """

    def __init__(
        self, inputs: int, hidden: int, projection: int = 0, peepholes: bool = False, layer_norm: bool = False
    ) -> None:
        super().__init__(inputs, hidden, 4, projection or hidden)
        bound = 1 / math.sqrt(hidden)
        self.weight_hr = nn.Parameter(torch.empty(projection, hidden).uniform_(-bound, bound)) if projection else None
        self.peep = nn.Parameter(torch.empty(3, hidden).uniform_(-bound, bound)) if peepholes else None  # i, f, o
        self.norm_x = nn.LayerNorm(4 * hidden, bias=False) if layer_norm else None
        self.norm_h = nn.LayerNorm(4 * hidden, bias=False) if layer_norm else None
        self.norm_c = nn.LayerNorm(hidden) if layer_norm else None

    def driven(self, x: Tensor) -> Tensor:
        if self.norm_x is None:
            return super().driven(x)
        return self.norm_x(functional.linear(x, self.weight_ih)) + self.bias_ih  # type: ignore[no-any-return]

    def start(self, size: int) -> State:
        return (self.weight_hh.new_zeros(size, self.outputs), self.weight_hh.new_zeros(size, self.hidden))

    def step(self, driven: Tensor, state: State) -> State:
        return self.step_with_gates(driven, state)[0]

    def step_with_gates(self, driven: Tensor, state: State) -> tuple[State, Gates]:
        """The state after a step, and how it came about."""
        h, c = state
        recurrent = functional.linear(h, self.weight_hh)
        if self.norm_h is not None:
            recurrent = self.norm_h(recurrent)
        i, f, g, o = (driven + recurrent + self.bias_hh).chunk(4, dim=-1)
        if self.peep is not None:
            i, f = i + self.peep[0] * c, f + self.peep[1] * c
        i, f, g = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g)
        c = f * c + i * g
        if self.peep is not None:
            o = o + self.peep[2] * c
        o = torch.sigmoid(o)
        h = o * torch.tanh(c if self.norm_c is None else self.norm_c(c))
        if self.weight_hr is not None:
            h = functional.linear(h, self.weight_hr)
        return (h, c), Gates(i, f, g, o, c)


def begin_gates(bias_ih: Tensor, bias_hh: Tensor, forget_bias: float, chrono_steps: int) -> None:
    """Set the biases [4 H] with which an LSTM begins: the forget gate's, or memories of all lengths.

    `forget_bias` (Gers et al. 2000; Jozefowicz et al. 2015: 1). With `chrono_steps` above 2, the forget gate's bias is
    log u, u uniform between 1 and chrono_steps - 1, and the input gate's is its negative: units forget in 1 to that
    many steps (Tallec & Ollivier 2018, equation 16).
    """
    hidden = len(bias_ih) // 4
    with torch.no_grad():
        bias_ih.zero_()
        bias_hh.zero_()
        if chrono_steps > 2:
            lasting = torch.log(torch.empty_like(bias_ih[:hidden]).uniform_(1, chrono_steps - 1))
            bias_ih[hidden : 2 * hidden], bias_ih[:hidden] = lasting, -lasting
        else:
            bias_ih[hidden : 2 * hidden] = forget_bias
