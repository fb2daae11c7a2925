"""What a run's figures are called: an environment without an emulator has no frames and no game score."""

from __future__ import annotations

from dataclasses import dataclass

from apex_ray.config.plugins import plugin_of

ATARI = "ALE/"  # how the ids of its games begin


@dataclass(frozen=True)
class Words:
    """For the counter `frames` and for returns."""

    frames: str
    short: str  # of frames, where there is little room
    score: str


def words_for(env_id: str) -> Words:
    plugin = plugin_of(env_id)
    if env_id.startswith(ATARI) or (plugin is not None and plugin.emulated):
        return Words("emulator frames", "frames", "episode return (game score)")
    return Words("environment steps", "steps", "episode return")
