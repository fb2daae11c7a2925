"""The network: causal convolution, blocks of gated dilated convolutions, skips to an output (WaveNet paper, figure 4).

samples -> InputConv -> block -> block -> ... -> block          x + residual goes on from block to block
                          |        |               |
                          +--------+--- skips -----+-> ReLU -> 1x1 -> ReLU -> 1x1 -> the next sample's distribution
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainkit.mu_law import CLASSES, SILENCE
from wavenet.causal_conv import DilatedCausalConv, InputConv
from wavenet.conditioning import Conditions
from wavenet.config import ModelConfig


class Block(nn.Module):
    """z = tanh(W_f * x + V_f h) . sigmoid(W_g * x + V_g h); 1x1 convolutions of z to residual and skip (equation 2)."""

    def __init__(self, config: ModelConfig, dilation: int) -> None:
        super().__init__()
        r = config.residual
        self.split = [r, config.skip]
        self.conv = DilatedCausalConv(r, 2 * r, config.kernel, dilation)  # filter, gate
        self.speaker = nn.Linear(config.speaker_channels, 2 * r, bias=False) if config.speakers else None
        self.local = nn.Linear(config.local_channels, 2 * r, bias=False) if config.local_features else None
        self.out = nn.Linear(r, r + config.skip)

    def forward(
        self, x: Tensor, speaker: Tensor | None, local: Tensor | None, first: int, skips: int
    ) -> tuple[Tensor, Tensor]:
        """[B, T, residual] -> the next block's input [B, T - first, residual], and the last skips [B, skips, skip]."""
        z = self.conv(x, first)
        gated = self.gated(z, speaker, None if local is None else local[:, -z.shape[1] :])
        weight, bias, r = self.out.weight, self.out.bias, self.split[0]
        residual = functional.linear(gated, weight[:r], bias[:r])
        return x[:, first:] + residual, functional.linear(gated[:, -skips:], weight[r:], bias[r:])

    def gated(self, z: Tensor, speaker: Tensor | None, local: Tensor | None) -> Tensor:
        """What the convolution gave [.., 2 residual], with the conditions -> [.., residual]."""
        if self.speaker is not None:
            z = z + self.speaker(speaker)
        if self.local is not None:
            z = z + self.local(local)
        filtered, gate = z.chunk(2, dim=-1)
        return torch.tanh(filtered) * torch.sigmoid(gate)


class WaveNet(nn.Module):
    """p(x_t | x_1 .. x_(t-1), conditions) for all t at once."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        classes = CLASSES if config.output == "softmax" else 0
        self.input = InputConv(classes, config.residual, config.input_kernel)
        self.conditions = Conditions(config)
        self.blocks = cast(Sequence[Block], nn.ModuleList(Block(config, d) for d in config.dilations))
        self.head_layers = nn.Linear(config.skip, config.head), nn.Linear(config.head, config.outputs)
        self.head = nn.Sequential(nn.ReLU(), self.head_layers[0], nn.ReLU(), self.head_layers[1])

    @torch.no_grad()
    def expect(self, frequencies: Tensor) -> None:
        """Begin with the classes' frequencies [256] instead of equal chances, which take many updates to unlearn."""
        self.head_layers[1].bias.copy_(torch.log(frequencies))

    def forward(
        self, samples: Tensor, speakers: Tensor | None = None, frames: Tensor | None = None, first: int = 0
    ) -> Tensor:
        """What the network expects of each sample, from step `first` on, before it hears it: [B, T - first, outputs].

        `samples` [B, T]: mu-law codes (int64) for softmax, numbers in [-1, 1] (float) for logistics. `speakers` [B]
        (int64). `frames` [B, N, local_features], of frame_samples samples each, N * frame_samples >= T. Output t
        depends on samples before t only, on no more than `receptive_field` of them, and on all frames near it. Each
        block computes only the steps that outputs from `first` on depend on.
        """
        speaker = self.conditions.global_vector(speakers) if speakers is not None else None
        local = self.conditions.upsampling(frames)[:, : samples.shape[1]] if frames is not None else None
        assert first < samples.shape[1] and (local is None or local.shape[1] == samples.shape[1])
        starts = [first]  # of what each block puts out, the last one's first
        for dilation in reversed(self.config.dilations):
            starts.append(max(starts[-1] - (self.config.kernel - 1) * dilation, 0))
        at = starts.pop()
        x = self.input(samples, SILENCE)[:, at:]
        total: Tensor | None = None
        for block in self.blocks:
            x, skip = block(x, speaker, local, starts[-1] - at, samples.shape[1] - first)
            at = starts.pop()
            total = skip if total is None else total + skip
        expected: Tensor = self.head(total)
        return expected
