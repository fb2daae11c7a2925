"""A copy of replay's frames on the learner's device: each frame travels there once, and batches are only indices.

A batch of 512 is 25 MB of frames, and a frame is sampled many times: with 8 samples per insert 50 times less travels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from apex_ray.types import SHARD_STRIDE, AnyArray, ByteArray, EnvSpec, IntArray
from trainkit.errors import UserError


class FrameMirror:
    """Segments of frames as in replay/frames.py, those of all shards one after the other."""

    def __init__(
        self, spec: EnvSpec, shards: int, segments: int, horizon: int, n_step: int, device: torch.device
    ) -> None:
        """Reserve room for `segments` segments of each shard. UserError where the device has less."""
        self._horizon, self._stack, self._segments = horizon, spec.stack, segments
        self._window, self._length = spec.stack + n_step, horizon + spec.stack - 1 + n_step
        self._shape = spec.frame_shape
        needed = shards * segments * self._length * spec.frame_bytes
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
        if free is not None and needed > 0.8 * free:
            raise UserError(
                f"replay.frames = learner: {needed / 2**30:.1f} GiB of frames don't fit into {free / 2**30:.1f} GiB "
                f"free on {device}; expected replay.frames = replay, or a smaller replay.capacity_transitions"
            )
        dtype = getattr(torch, spec.frame_dtype)
        self._frames = torch.empty((shards * segments, self._length, *spec.frame_shape), dtype=dtype, device=device)

    def write(self, shard: int, segments: IntArray, frames: AnyArray) -> None:
        """What replay stored in `segments` [G] of a shard: frames [G, T + S - 1 + n, *F]."""
        if not len(segments):
            return
        device = self._frames.device
        rows = torch.from_numpy(shard * self._segments + segments).to(device)
        new = torch.as_tensor(frames)
        if device.type == "cuda":
            new = new.pin_memory().to(device, non_blocking=True)
        self._frames[rows] = new

    def gather(self, slots: IntArray, ages: ByteArray) -> Tensor:
        """Frames [B, S + n, *F] of slots [B] as batches name them; frames from before an episode's first are zeros."""
        shards, slots = slots // SHARD_STRIDE, slots % SHARD_STRIDE
        first = (shards * self._segments + slots // self._horizon) * self._length + slots % self._horizon
        device = self._frames.device
        rows = torch.from_numpy(first).to(device)[:, None] + torch.arange(self._window, device=device)
        frames = self._frames.flatten(0, 1)[rows]
        age = torch.as_tensor(ages).to(device)[:, None]
        before = torch.arange(self._window, device=device) < self._stack - 1 - age.long()
        return frames.masked_fill_(before.view(*before.shape, *(1 for _ in self._shape)), 0)
