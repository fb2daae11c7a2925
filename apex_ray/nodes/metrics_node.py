"""The metrics collector as a Ray actor: parts report to it, the driver reads a row now and then."""

from __future__ import annotations

from apex_ray.report.tally import ActorReport, LearnerReport, Tally
from apex_ray.types import FloatArray


class MetricsNode:
    def __init__(self, epsilons: FloatArray, frame_skip: int, start: dict[str, float]) -> None:
        self._tally = Tally(epsilons, frame_skip, **start)  # type: ignore[arg-type]

    def actor(self, report: ActorReport) -> None:
        self._tally.actor(report)

    def learner(self, report: LearnerReport) -> None:
        self._tally.learner(report)

    def row(self) -> dict[str, float]:
        """The metrics now. Means and waiting times start anew with each row, so it has one reader."""
        return self._tally.row()
