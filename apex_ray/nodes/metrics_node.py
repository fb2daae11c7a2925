"""The metrics collector as a Ray actor: parts report to it, the driver reads a row now and then."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from apex_ray.nodes.living import Living, note_work
from apex_ray.nodes.stall import LEARNER
from apex_ray.report.episodes import reporter_named
from apex_ray.report.metrics import EXPORTED, METRICS
from apex_ray.report.tally import ActorReport, LearnerReport, Tally
from apex_ray.types import Counters, FloatArray
from cluster.metrics import Exporter

MOST_MESSAGES = 100  # lines kept between two calls of the driver


class MetricsNode(Living):
    """After a restart, counts go on from those that the driver had; what came since then in reports is not counted."""

    def __init__(self, epsilons: FloatArray, frame_skip: int, run: str = "", reporter: str = "") -> None:
        self._exporter = Exporter(METRICS, EXPORTED, {"run": run})
        self._tally = Tally(epsilons, frame_skip, reporter=reporter_named(reporter))
        self._begun = False
        self._reported_at: dict[str, float] = {}  # by part, when it reported last
        self._dismissed: set[str] = set()  # actors that are to leave
        self._messages: deque[str] = deque(maxlen=MOST_MESSAGES)

    def actor(self, report: ActorReport) -> bool:
        """Whether that actor is to leave."""
        name = f"actor {report.actor}"
        self._reported_at[name] = time.monotonic()
        self._tally.actor(report)
        note_work()
        return name in self._dismissed

    def learner(self, report: LearnerReport) -> None:
        self._reported_at[LEARNER] = time.monotonic()
        self._tally.learner(report)
        note_work()

    def dismiss(self, names: list[str]) -> None:
        """These actors are told to leave when they report."""
        self._dismissed.update(names)

    def forget(self, name: str) -> None:
        """That actor is gone; one that comes in its place has not reported yet, and is not the one that is to leave."""
        self._dismissed.discard(name)
        self._reported_at.pop(name, None)

    def say(self, text: str) -> None:
        """A line for the user from an actor or the evaluator."""
        self._messages.append(text)

    def messages(self) -> list[str]:
        """The lines since the last call."""
        messages = list(self._messages)
        self._messages.clear()
        return messages

    def export(self, row: Mapping[str, float]) -> None:
        """Show a row on this node's metrics port, for Prometheus."""
        self._exporter.export(row)

    def row(self, start: Counters) -> tuple[dict[str, float], dict[str, float]]:
        """The metrics now and, by part, the seconds since its last report.

        Means and waiting times start anew with each row, so it has one reader. `start`: what the run had reached before
        this process, which is looked at in its first row.
        """
        if not self._begun:
            self._begun = True
            self._tally.go_on_from(start)
        now = time.monotonic()
        return self._tally.row(), {part: now - at for part, at in self._reported_at.items()}

    def episode_rows(self) -> list[Any]:
        """The totals of the environment's own reporter so far."""
        return self._tally.reporter.rows()
