"""The network: causal convolution, blocks of gated dilated convolutions, skips to an output (WaveNet paper, figure 4).

samples -> InputConv -> block -> block -> ... -> block          x + residual goes on from block to block
                          |        |               |
                          +--------+--- skips -----+-> ReLU -> 1x1 -> ReLU -> 1x1 -> the next sample's distribution

Convolutions look back only (section 2.1), on [B, T, C]: time before channels. They are written as one matrix product
over the taps side by side, which is faster than Conv1d on CPUs. Sound is conditioned (section 2.5) on a speaker for all
of it, and on frames for each moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainkit.mu_law import CLASSES, SILENCE
from wavenet.config import ModelConfig

EARLIER_SLOPE = 0.4  # of the leaky ReLU that upsampling had before frames were normalised


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

    def forward(self, x: Tensor, first: int = 0, ages: Tensor | None = None) -> Tensor:
        """[B, T, inputs] -> [B, T - first, outputs], of steps `first` to T.

        `ages` [B, T]: how many steps before each one belong to it; those before these are zeros to it.
        """
        taps = [delayed(x, i * self.dilation, first) for i in range(self.kernel)]
        if ages is not None:
            taps = [t * (ages[:, first:, None] >= i * self.dilation) for i, t in enumerate(taps)]
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


class Upsampling(nn.Module):
    """Frames at their own rate to one vector a sample, by transposed convolutions that are learned.

    Frames are brought to mean 0 and scale 1 of each feature first. At the start, each of `local_channels` is a random
    projection of the frame, of about unit variance, interpolated linearly between the frames' middles: what the frames
    say is heard from the first update on.
    """

    mean: Tensor
    scale: Tensor
    slope: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c = config.local_channels
        self.register_buffer("mean", torch.zeros(config.local_features))
        self.register_buffer("scale", torch.ones(config.local_features))
        # Of what is negative between two stages. Checkpoints from before frames were normalised had a leaky ReLU there.
        self.register_buffer("slope", torch.ones(1))
        self.first = nn.Conv1d(config.local_features, c, kernel_size=3, padding=1)
        strides = [s for s in config.upsampling if s > 1]
        # Each output sample is a mix of its own frame and the neighbour it is nearer to.
        self.stages = nn.ModuleList(
            nn.ConvTranspose1d(c, c, 2 * s, stride=s, padding=(s + 1) // 2, output_padding=s % 2) for s in strides
        )
        self._interpolate(config, strides)
        self.register_load_state_dict_pre_hook(_complete)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def _interpolate(self, config: ModelConfig, strides: Sequence[int]) -> None:
        nn.init.zeros_(self.first.weight)
        nn.init.normal_(self.first.weight[:, :, 1], std=config.local_features**-0.5)
        nn.init.zeros_(cast(Tensor, self.first.bias))
        for stride, stage in zip(strides, cast(Sequence[nn.ConvTranspose1d], self.stages), strict=True):
            middle = stride - 0.5 * (1 - stride % 2)  # of the kernel: where an input's own place is
            hat = (1 - (torch.arange(2 * stride) - middle).abs() / stride).clamp(min=0)
            stage.weight.copy_(torch.eye(config.local_channels)[:, :, None] * hat)
            nn.init.zeros_(cast(Tensor, stage.bias))

    @torch.no_grad()
    def normalise(self, mean: Tensor, scale: Tensor) -> None:
        """Take `mean` and `scale` [features] of the frames to learn from as 0 and 1."""
        self.mean.copy_(mean)
        self.scale.copy_(scale)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames [B, N, features] -> [B, N * frame_samples, channels]."""
        x = self.first(((frames - self.mean) / self.scale).transpose(1, 2))
        for stage in self.stages:
            x = stage(functional.prelu(x, self.slope))
        result: Tensor = x.transpose(1, 2)
        return result


def _complete(upsampling: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Give weights of checkpoints from before frames were normalised what makes them the same function as then."""
    if f"{prefix}slope" not in state:
        before = {"mean": 0.0, "scale": 1.0, "slope": EARLIER_SLOPE}
        state.update({f"{prefix}{name}": torch.full_like(upsampling.get_buffer(name), x) for name, x in before.items()})


class Conditions(nn.Module):
    """Speaker and frames as one vector a sample, which every block adds to its gates."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.speakers:
            self.speaker = nn.Embedding(config.speakers, config.speaker_channels)
        if config.local_features:
            self.upsampling = Upsampling(config)

    def global_vector(self, speakers: Tensor) -> Tensor:
        """Speakers [B] (int64) -> [B, 1, channels]."""
        vector: Tensor = self.speaker(speakers)[:, None]
        return vector


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
        self,
        x: Tensor,
        speaker: Tensor | None,
        local: Tensor | None,
        first: int,
        skips: int,
        ages: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """[B, T, residual] -> the next block's input [B, T - first, residual], and the last skips [B, skips, skip].

        `ages` as `DilatedCausalConv`.
        """
        z = self.conv(x, first, ages)
        gated = self.gated(z, speaker, None if local is None else local[:, -z.shape[1] :])
        weight, bias, r = self.out.weight, self.out.bias, self.split[0]
        residual = functional.linear(gated, weight[:r], bias[:r])
        return x[:, first:] + residual, functional.linear(gated[:, -skips:], weight[r:], bias[r:])

    def step(self, taps: Sequence[Tensor], speaker: Tensor | None, local: Tensor | None) -> tuple[Tensor, Tensor]:
        """As `forward`, of one step: from its taps [B, residual], the newest first, [B, residual] and [B, skip]."""
        gated = self.gated(self.conv.linear(torch.cat(list(taps), dim=-1)), speaker, local)
        residual, skip = self.out(gated).split(self.split, dim=-1)
        return taps[0] + residual, skip

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
        depends on samples before t only, on no more than `receptive_field` of them, and on the frames up to
        `reach_frames` from its own. Each block computes only the steps that outputs from `first` on depend on.
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
