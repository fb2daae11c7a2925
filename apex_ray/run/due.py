"""When a run's loop does what."""

from __future__ import annotations

from dataclasses import dataclass

from apex_ray.config.schema import ApexConfig

MEMORY_EVERY_S = 10.0
EPISODES_EVERY_S = 30.0


@dataclass
class Every:
    """True once per `seconds`, first after one such span."""

    seconds: float
    at: float = 0.0

    def due(self, now: float) -> bool:
        if now - self.at < self.seconds:
            return False
        self.at = now
        return True


class Due:
    """What is done every so often, by its name."""

    def __init__(self, config: ApexConfig, now: float) -> None:
        self.report = Every(config.report.every_s, now)
        self.memory, self.episodes = Every(MEMORY_EVERY_S, now), Every(EPISODES_EVERY_S, now)
        self.evaluation = Every(config.evaluation.every_s, now)
        self.checkpoint = Every(config.checkpoint.every_s, now)
