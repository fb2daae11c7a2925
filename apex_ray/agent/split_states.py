"""The two observations in a sample's frames, as one operation that torch.compile takes whole.

Otherwise it joins the selection with what follows, the layout and the wider numbers of the first convolution, and its
code for CPUs looks the frame up again for every pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor


def split_states(frames: Tensor, steps: Tensor, stack: int) -> tuple[Tensor, Tensor]:
    """The observation that an action was taken at, and the one that its value is bootstrapped from.

    Args:
        frames: [B, S + n, *F].
        steps: [B], m: how many frames later the bootstrap state ends.
        stack: S.

    Returns:
        states frames[:, :S] and bootstrap states frames[b, m : m + S], both [B, S, *F].

    """
    batch, length = frames.shape[:2]
    first = torch.arange(batch, device=frames.device) * length + steps.long()
    rows = (first[:, None] + torch.arange(stack, device=frames.device)).flatten()
    later: Tensor = _rows_of(frames.flatten(0, 1), rows)
    return frames[:, :stack], later.view(batch, stack, *frames.shape[2:])


@torch.library.custom_op("apex_ray::rows_of", mutates_args=())
def _rows_of(array: Tensor, rows: Tensor) -> Tensor:
    """Array [N, *F] at rows [M]: copies of whole rows."""
    return array.index_select(0, rows)


@_rows_of.register_fake
def _(array: Tensor, rows: Tensor) -> Tensor:
    return array.new_empty(len(rows), *array.shape[1:])
