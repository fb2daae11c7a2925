"""What a run's figures are called: an environment without an emulator has no frames and no game score."""

from __future__ import annotations

from dataclasses import dataclass

EMULATED = ("ALE/", "retro/")  # how the ids of emulated games begin


@dataclass(frozen=True)
class Words:
    """For the counter `frames` and for returns."""

    frames: str
    short: str  # of frames, where there is little room
    score: str


def words_for(env_id: str) -> Words:
    if env_id.startswith(EMULATED):
        return Words("emulator frames", "frames", "episode return (game score)")
    return Words("environment steps", "steps", "episode return")
