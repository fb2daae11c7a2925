"""What an episode of a stage came to, as the emulator's process says it and reports show it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self, cast

from apex_ray.types import EpisodeValues


@dataclass(frozen=True)
class StageEnd:
    stage: str
    best_x: float | None  # pixels, the furthest to the right; None for games without an x
    score: float  # by the game's scenario; for Sonic the contest's, 0 to 10,000
    completed: bool
    frames: int  # emulator frames played

    @classmethod
    def of(cls, values: EpisodeValues) -> Self:
        """From what `values` gave."""
        return cls(**cast(dict[str, Any], values))

    @property
    def values(self) -> EpisodeValues:
        return asdict(self)
