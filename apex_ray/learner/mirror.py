"""A copy of replay's windowed fields on the learner's device: each step travels there once, and batches are indices.

A batch of 512 is 25 MB of frames, and a frame is sampled many times: with 8 samples per insert 50 times less travels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from apex_ray.fields import Fields, chunk_bytes, windowed
from apex_ray.replay.records import Fresh
from apex_ray.types import SHARD_STRIDE, ByteArray, IntArray
from trainkit.errors import UserError


class Mirror:
    """Segments as in replay/windows.py, those of all shards one after the other."""

    def __init__(
        self, fields: Fields, shards: int, segments: int, horizon: int, device: torch.device, stride: int = 1
    ) -> None:
        """Reserve room for `segments` segments of each shard. UserError where the device has less."""
        self._fields, self._horizon, self._segments, self._device = windowed(fields), horizon, segments, device
        self._in_segment, self._stride = horizon // stride, stride
        needed = shards * segments * chunk_bytes(self._fields, horizon)
        free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
        if free is not None and needed > 0.8 * free:
            raise UserError(
                f"replay.frames = learner: {needed / 2**30:.1f} GiB of frames don't fit into {free / 2**30:.1f} GiB "
                f"free on {device}; expected replay.frames = replay, or a smaller replay.capacity_transitions"
            )
        self._arrays = {
            name: torch.empty(
                (shards * segments, field.length(horizon), *field.shape),
                dtype=getattr(torch, field.dtype),
                device=device,
            )
            for name, field in self._fields.items()
        }

    def write(self, shard: int, fresh: Fresh) -> None:
        """What a shard has stored since the last time."""
        if not len(fresh.segments):
            return
        rows = torch.from_numpy(shard * self._segments + fresh.segments).to(self._device)
        for name, steps in fresh.fields.items():
            new = torch.as_tensor(steps)
            if self._device.type == "cuda":
                new = new.pin_memory().to(self._device, non_blocking=True)
            self._arrays[name][rows] = new

    def gather(self, slots: IntArray, ages: ByteArray) -> dict[str, Tensor]:
        """Windows [B, window, ...] of slots [B] as batches name them; steps of an earlier episode are zeros."""
        shards, slots = slots // SHARD_STRIDE, slots % SHARD_STRIDE
        segments, steps = shards * self._segments + slots // self._in_segment, slots % self._in_segment * self._stride
        age = torch.as_tensor(ages).to(self._device)[:, None].long()
        gathered = {}
        for name, field in self._fields.items():
            window = torch.arange(field.window, device=self._device)
            first = torch.from_numpy(segments * field.length(self._horizon) + steps).to(self._device)
            found = self._arrays[name].flatten(0, 1)[first[:, None] + window]
            earlier = window < field.before - age
            gathered[name] = found.masked_fill_(earlier.view(*earlier.shape, *(1 for _ in field.shape)), 0)
        return gathered
