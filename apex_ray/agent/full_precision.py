"""What stays in float32 where the rest of a network is in bfloat16."""

from __future__ import annotations

from torch import nn


class FullPrecision(nn.Module):
    """A mark: inference in bfloat16 leaves the parameters and buffers of this module as they are."""
