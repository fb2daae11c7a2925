"""What a replay gives: samples, and what was written since somebody last looked."""

from __future__ import annotations

from dataclasses import dataclass

from apex_ray.types import AnyArray, Float64Array, IntArray


@dataclass
class Fresh:
    """What was written of windowed fields since the last time somebody took it."""

    segments: IntArray  # [G] where, oldest first
    fields: dict[str, AnyArray]  # [G, before + T + after, ...]
    series: int  # another one each time that all is given again, from the first on
    first: int  # how many of the series were given before


@dataclass
class Sample:
    """B steps drawn from one replay, with the masses that their probabilities follow from."""

    fields: dict[str, AnyArray]  # [B, window, ...] or [B, ...]; windowed ones only where they were asked for
    masses: Float64Array  # [B] (priority + floor)^alpha
    slots: IntArray  # [B]
    overwrites: IntArray  # [B]
    total_mass: float  # of the replay they came from, when they were drawn
    fresh: Fresh | None = None
