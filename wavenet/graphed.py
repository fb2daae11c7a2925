"""Generation in torch, for GPUs: a sample of all streams is a fixed sequence of operations, which a CUDA graph replays.

The same rings as the CPU's kernels, the same draws from the same uniform numbers. To launch 250 small kernels one by
one from Python would take longer than they run; a graph launches them at once. On a CPU the operations run one by one,
which is slow, and how tests compare them. Not yet measured on a GPU.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainkit.errors import UserError
from wavenet.model import Block, WaveNet
from wavenet.streams import Floats, Streams, drawing

CHUNK = 512  # samples between two looks at the CPU


class GraphedGenerator(Streams):
    """On one device, in float32."""

    def __init__(
        self,
        model: WaveNet,
        streams: int,
        device: torch.device,
        seed: int = 0,
        temperature: float = 1.0,
        top_k: int | None = None,
        speakers: Tensor | None = None,
    ) -> None:
        """`speakers` as `Generator`. UserError where there is no such device."""
        if device.type == "cuda" and not torch.cuda.is_available():
            raise UserError(f"device {str(device)!r}: torch sees no GPU here; expected cpu")
        super().__init__(model.config, streams, seed, drawing(model.config, temperature, top_k), speakers)
        c = model.config
        self._model = deepcopy(model).to(device).eval()  # the caller's own stays where it is

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, device=device)

        with torch.no_grad():
            vector = None if speakers is None else self._model.conditions.global_vector(speakers.to(device))[:, 0]
        self._speaker = vector
        self._clock = torch.zeros(1, dtype=torch.int64, device=device)  # samples so far
        self._place = torch.zeros(1, dtype=torch.int64, device=device)  # of the sample in its chunk
        self._past = torch.full((c.input_kernel, streams), self._silence, device=device)  # the newest first
        self._rings = [zeros(streams, d * (c.kernel - 1), c.residual) for d in c.dilations]
        # A chunk's inputs and outputs. Where `known` is nan, the sample is drawn.
        self._uniforms, self._known = zeros(CHUNK, streams, 2), zeros(CHUNK, streams)
        self._local = zeros(CHUNK, streams, c.local_channels) if c.local_features else None
        self._emitted, self._predicted = zeros(CHUNK, streams), zeros(CHUNK, streams, c.outputs)
        self._graph = self._captured() if device.type == "cuda" else None

    def _captured(self) -> Any:
        state = [self._clock, self._place, self._past, *self._rings]
        kept = [tensor.clone() for tensor in state]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):  # libraries choose their kernels and reserve their memory before the recording
                self._step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step()
        for tensor, before in zip(state, kept, strict=True):
            tensor.copy_(before)
        return graph

    @torch.no_grad()
    def _continue(
        self, samples: int, local: Tensor | None, given: Floats | None, expected: int
    ) -> tuple[Floats, Floats]:
        uniforms = torch.from_numpy(self._rng.random((samples, self.streams, 2), np.float32))
        known = torch.full((samples, self.streams), torch.nan)
        if given is not None:
            known[: len(given)] = torch.from_numpy(np.asarray(given, np.float32))
        emitted = [np.zeros((0, self.streams), np.float32)]
        predicted = [np.zeros((0, self.streams, self.config.outputs), np.float32)]
        for start in range(0, samples, CHUNK):
            n = min(CHUNK, samples - start)
            self._uniforms[:n].copy_(uniforms[start : start + n])
            self._known[:n].copy_(known[start : start + n])
            if self._local is not None and local is not None:
                self._local[:n].copy_(local[:, start : start + n].transpose(0, 1))
            self._place.zero_()
            for _ in range(n):
                if self._graph is None:
                    self._step()
                else:
                    self._graph.replay()
            emitted.append(self._emitted[:n].cpu().numpy().copy())
            predicted.append(self._predicted[:n].cpu().numpy().copy())
        return np.concatenate(emitted), np.concatenate(predicted)

    @torch.no_grad()
    def _step(self) -> None:
        """One sample of all streams; every tensor that it changes, it changes in place."""
        c, model = self.config, self._model
        local = None if self._local is None else self._local.index_select(0, self._place)[0]
        x = model.input.bias.expand(self.streams, -1)
        for rows, past in zip(model.input.weight, self._past, strict=True):
            x = x + (rows[past.long()] if c.output == "softmax" else past[:, None] * rows)
        total: Tensor | None = None
        for block, dilation, ring in zip(model.blocks, c.dilations, self._rings, strict=True):
            x, skip = self._block(block, dilation, ring, x, local)
            total = skip if total is None else total + skip
        predicted = model.head(total)
        known = self._known.index_select(0, self._place)[0]
        drawn = self._drawn(predicted, self._uniforms.index_select(0, self._place)[0])
        sample = torch.where(known.isnan(), drawn, known)
        self._emitted.index_copy_(0, self._place, sample[None])
        self._predicted.index_copy_(0, self._place, predicted[None])
        self._past.copy_(torch.cat([sample[None], self._past[:-1]]))
        self._place += 1
        self._clock += 1

    def _block(
        self, block: Block, dilation: int, ring: Tensor, x: Tensor, local: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """As `Block.forward`, for one sample x [B, residual] whose earlier ones are in the ring."""
        length = ring.shape[1]
        taps = [x] + [
            ring.index_select(1, (self._clock - i * dilation) % length)[:, 0] for i in range(1, self.config.kernel)
        ]
        ring.index_copy_(1, self._clock % length, x[:, None])
        return block.step(taps, self._speaker, local)

    def _drawn(self, predicted: Tensor, uniforms: Tensor) -> Tensor:
        """As `fast.draw` draws: [B]."""
        if self.config.output == "softmax":
            return self._class_of(predicted / self._drawing.temperature, uniforms[:, 0], self._drawing.top_k).float()
        logits, means, log_scales = predicted.chunk(3, dim=-1)
        which = self._class_of(logits, uniforms[:, 0], self._drawing.top_k)[:, None]
        scale = log_scales.gather(1, which)[:, 0].clamp(min=-14.0).exp() * self._drawing.temperature
        place = uniforms[:, 1].clamp(1e-5, 1 - 1e-5)
        return (means.gather(1, which)[:, 0] + scale * torch.logit(place)).clamp(-1, 1)

    @staticmethod
    def _class_of(logits: Tensor, uniform: Tensor, top_k: int) -> Tensor:
        if top_k < logits.shape[-1]:
            least = logits.topk(top_k, dim=-1).values[:, -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        passed = torch.cumsum(torch.softmax(logits, dim=-1), dim=-1) > uniform[:, None]
        # Rounding may leave the sum a little below 1: then it is the last class that can be drawn.
        last = logits.shape[-1] - 1 - torch.isfinite(logits).flip(-1).int().argmax(dim=-1)
        return torch.where(passed.any(dim=-1), passed.int().argmax(dim=-1), last)
