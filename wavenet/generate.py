"""Sound from a trained network, continued chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainkit.mu_law import decode
from wavenet.corpus import Recording
from wavenet.fast import kernel
from wavenet.fast.weights import Kind, Weights, pack, padded
from wavenet.features import Features
from wavenet.model import WaveNet
from wavenet.streams import Floats, Streams, drawing

Local = Callable[[int, int], Tensor]  # (start, samples) -> the condition of these, [streams, samples, local_channels]
CHUNK = 4_096  # samples at a time: what a condition adds to every block's gates takes ten kilobytes a sample


class Generator(Streams):
    """On this machine's CPU."""

    def __init__(
        self,
        model: WaveNet,
        streams: int = 1,
        kind: Kind = "bfloat16",
        seed: int = 0,
        temperature: float = 1.0,
        top_k: int | None = None,
        speakers: Tensor | None = None,
    ) -> None:
        """`kind` is how weights are stored. `speakers` [streams] (int64) where the model has them."""
        super().__init__(model.config, streams, seed, drawing(model.config, temperature, top_k), speakers)
        c = model.config
        self._lanes = streams if streams == 1 else -(-streams // 4) * 4  # kernels take four streams at a time
        self._run = kernel.build(c, kind, self._lanes)
        self._weights: Weights = pack(model, kind)
        self._local = _LocalBias(model)
        self._speaker = self._padded(_speaker_bias(model, speakers, streams), 1)
        lengths = np.array(c.dilations) * (c.kernel - 1)
        self._starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        self._rings = np.zeros((int(lengths.sum()), self._lanes, padded(c.residual)), np.float32)
        self._past = np.full((c.input_kernel, self._lanes), self._silence, np.float32)
        self._clock = 0
        # Of no samples: the kernel is compiled here, so that the first sound is not kept waiting.
        self._continue(0, torch.zeros(streams, 0, c.local_channels) if c.local_features else None, None, 0)

    def _continue(
        self, samples: int, local: Tensor | None, given: Floats | None, expected: int
    ) -> tuple[Floats, Floats]:
        c = self.config
        lanes = self._lanes
        emitted, predicted = np.empty((samples, lanes), np.float32), np.empty((expected, lanes, c.outputs), np.float32)
        known = np.zeros((0, self.streams), np.float32) if given is None else np.asarray(given, np.float32)
        uniforms = np.zeros((samples, lanes, 2), np.float32)
        uniforms[:, : self.streams] = self._rng.random((samples, self.streams, 2), np.float32)
        self._run(
            self._weights,
            self._speaker,
            self._padded(self._local(local), 1),
            self._padded(known, 1),
            uniforms,
            np.float32(self._drawing.temperature),
            self._drawing.top_k,
            self._clock,
            self._past,
            self._rings,
            self._starts,
            emitted,
            predicted,
        )
        self._clock += samples
        return emitted[:, : self.streams], predicted[:, : self.streams]

    def _padded(self, array: Floats, axis: int) -> Floats:
        """With streams that nobody listens to, up to the kernel's number."""
        missing = self._lanes - self.streams
        widths = [(0, missing if i == axis else 0) for i in range(array.ndim)]
        return np.ascontiguousarray(np.pad(array, widths) if missing else array)


class _LocalBias:
    """What the local condition adds to every block's gates, for a chunk of samples at once."""

    def __init__(self, model: WaveNet) -> None:
        c = model.config
        self._shape = (len(c.dilations), 2 * padded(c.residual))
        self._weights: Tensor | None = None
        if c.local_features:
            rows = [block.local.weight.detach().float() for block in model.blocks if block.local is not None]
            stacked = torch.stack(rows)  # [L, 2R, C]
            layers, _, channels = stacked.shape
            wide = torch.zeros(layers, 2, padded(c.residual), channels)
            wide[:, :, : c.residual] = stacked.reshape(layers, 2, c.residual, channels)
            self._weights = wide.reshape(-1, channels)

    def __call__(self, local: Tensor | None) -> Floats:
        """[B, N, local_channels] -> [N, B, L, 2R]; no sample without a local condition."""
        if local is None or self._weights is None:
            return np.zeros((0, 1, *self._shape), np.float32)
        bias = local.detach().float().transpose(0, 1) @ self._weights.T
        return bias.reshape(*bias.shape[:2], *self._shape).numpy()


@torch.no_grad()
def _speaker_bias(model: WaveNet, speakers: Tensor | None, streams: int) -> Floats:
    """What the speaker adds to every block's gates: [L, B, 2R]."""
    c = model.config
    wide = torch.zeros(len(c.dilations), streams, 2, padded(c.residual))
    if speakers is not None:
        vector = model.conditions.global_vector(speakers)[:, 0].float()
        for i, block in enumerate(model.blocks):
            if block.speaker is not None:
                wide[i, :, :, : c.residual] = (vector @ block.speaker.weight.float().T).reshape(streams, 2, c.residual)
    return wide.flatten(2).numpy()


@torch.no_grad()
def upsampled(model: WaveNet, frames: Floats, start: int, samples: int) -> Tensor:
    """`samples` from `start` on of one stream's `framed` frames, for `Generator.run`: [1, samples, channels].

    Samples before 0 are those before the beginning, as far back as the network remembers. Only the frames that they
    depend on are looked at: sound begins as soon for a long piece as for a short one.
    """
    c = model.config
    first, last = start // c.frame_samples, -(-(start + samples) // c.frame_samples)
    row = c.context_frames + first  # in `frames`, of frame `first` less its reach
    some = torch.from_numpy(frames[row : row + last - first + 2 * c.reach_frames])
    channels: Tensor = model.conditions.upsampling(some[None])
    return channels[:, start - (first - c.reach_frames) * c.frame_samples :][:, :samples]


def framed(model: WaveNet, frames_of: Callable[[int, int], Floats], samples: int) -> Floats:
    """Frames [N, features] of so many samples and the `context_frames` before them, `reach_frames` more at each end.

    `frames_of(first, count)` gives them, also from before the beginning and after the end.
    """
    c = model.config
    before = c.context_frames + c.reach_frames
    return frames_of(-before, before + -(-samples // c.frame_samples) + c.reach_frames)


def sound(samples: Floats, output: str) -> Floats:
    """Samples in [-1, 1] of what a generator gave, codes or numbers."""
    return decode(samples) if output == "softmax" else samples


def begin(generator: Streams, local: Local | None) -> None:
    """Bring a new generator to where a recording begins."""
    samples = generator.config.receptive_field
    generator.hear_silence(None if local is None else local(-samples, samples))


def stream(generator: Streams, samples: int, chunk: int, local: Local | None = None) -> Iterator[Floats]:
    """Sound [n, streams] in chunks of at most `chunk` samples, as it is made.

    `local` is asked for the condition of a chunk, so that no more than it is held at once.
    """
    for start in range(0, samples, chunk):
        n = min(chunk, samples - start)
        yield sound(generator.run(n, None if local is None else local(start, n)), generator.config.output)


def conditions(
    model: WaveNet, frames_of: Features | None, recording: Recording, samples: int
) -> tuple[Tensor | None, Local | None]:
    """(speakers, local) of a recording's first `samples`, as `Generator`, `begin` and `stream` take them."""
    speakers = torch.tensor([recording.speaker]) if model.config.speakers else None
    if frames_of is None:
        return speakers, None
    return speakers, partial(upsampled, model, framed(model, partial(frames_of, recording), samples))


def resynthesise(
    model: WaveNet,
    frames_of: Features | None,
    recording: Recording,
    samples: int,
    kind: Kind = "bfloat16",
    seed: int = 0,
    temperature: float = 1.0,
) -> npt.NDArray[np.float32]:
    """Sound [samples] in [-1, 1] of a network on this machine's CPU."""
    speakers, local = conditions(model, frames_of, recording, samples)
    generator = Generator(model, 1, kind, seed, temperature, speakers=speakers)
    begin(generator, local)
    return np.concatenate(list(stream(generator, samples, CHUNK, local)))[:, 0]
