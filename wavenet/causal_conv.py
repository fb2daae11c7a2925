"""Convolutions that look back only (WaveNet paper, section 2.1), on [B, T, C]: time before channels.

Written as one matrix product over the taps side by side, which is faster than Conv1d on CPUs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def delayed(x: Tensor, samples: int, first: int = 0) -> Tensor:
    """Values x [B, T, C], each `samples` later, with zeros before the first: of steps `first` to T."""
    length = x.shape[1]
    if samples <= first:
        return x[:, first - samples : length - samples]
    return functional.pad(x, (0, 0, samples, 0))[:, first:length]


class DilatedCausalConv(nn.Module):
    """y_t = sum over i of W_i x_(t - i d) + b, for taps i = 0 .. kernel-1 and dilation d."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.kernel, self.dilation = kernel, dilation
        self.linear = nn.Linear(kernel * inputs, outputs)  # columns: the newest tap first

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """[B, T, inputs] -> [B, T - first, outputs], of steps `first` to T."""
        taps = [delayed(x, i * self.dilation, first) for i in range(self.kernel)]
        result: Tensor = self.linear(torch.cat(taps, dim=-1))
        return result


class InputConv(nn.Module):
    """The first causal convolution, over samples that have been: y_t depends on x_(t-1), x_(t-2), ... only.

    Classes are looked up: a convolution of one-hot vectors is a sum of rows. What came before the first sample is
    silence.
    """

    def __init__(self, classes: int, channels: int, kernel: int) -> None:
        """`classes` 0: samples are numbers in [-1, 1], not classes."""
        super().__init__()
        self.classes, self.kernel = classes, kernel
        self.weight = nn.Parameter(torch.empty(kernel, max(classes, 1), channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        nn.init.normal_(self.weight, std=kernel**-0.5)

    def forward(self, samples: Tensor, silence: int) -> Tensor:
        """[B, T] classes (int64) or numbers (float), or one-hot classes [B, T, classes] (float) -> [B, T, channels]."""
        length, k = samples.shape[1], self.kernel
        y: Tensor = self.bias
        if self.classes and not samples.is_floating_point():
            for i, rows in enumerate(self.weight):
                y = y + functional.embedding(functional.pad(samples, (i + 1, 0), value=silence)[:, :length], rows)
            return y
        x = samples if samples.ndim == 3 else samples[..., None]
        if self.classes:
            before = functional.one_hot(torch.tensor(silence), self.classes).to(x)
            x = torch.cat([before.expand(x.shape[0], self.kernel, -1), x], dim=1)
        else:
            x = functional.pad(x, (0, 0, self.kernel, 0))
        for i, rows in enumerate(self.weight):
            y = y + x[:, k - 1 - i : k - 1 - i + length] @ rows
        return y
