"""The metrics collector as a Ray actor: parts report to it, the driver reads a row now and then."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Mapping
from functools import partial
from typing import Any

from apex_ray.nodes.living import Living, note_work
from apex_ray.nodes.stall import LEARNER
from apex_ray.report.episodes import reporter_named
from apex_ray.report.metrics import EXPORTED, METRICS
from apex_ray.report.tally import NUMBERS, ActorReport, LearnerReport, Tally
from apex_ray.types import Counters, FloatArray
from cluster.metrics import Exporter
from cluster.ray_private import once

MOST_MESSAGES = 100  # lines kept between two calls of the driver
RECENT = 16  # reports of an actor that are known again: more than may be on their way


class MetricsNode(Living):
    """After a restart, counts go on from those that the driver had; what came since then in reports is not counted, so
    Ray is not to repeat them. A relay's loss has actors repeat theirs to it: these are known by their numbers.
    """

    def __init__(self, epsilons: FloatArray, frame_skip: int, run: str = "", reporter: str = "") -> None:
        self._exporter = Exporter(METRICS, EXPORTED, {"run": run})
        self._tally = Tally(epsilons, frame_skip, reporter=reporter_named(reporter))
        self._begun = False
        self._reported_at: dict[str, float] = {}  # by part, when it reported last
        self._received: dict[str, deque[int]] = defaultdict(partial(deque, maxlen=RECENT))  # by actor, reports' numbers
        self._first: dict[str, int] = {}  # by actor, the number from which on reports are of its process of now
        self._dismissed: set[str] = set()  # actors that are to leave
        self._messages: deque[str] = deque(maxlen=MOST_MESSAGES)

    @once
    def actor(self, report: ActorReport) -> bool:
        """Whether that actor is to leave."""
        return self._take(report)

    @once
    def relayed(self, relay: str, reports: list[ActorReport]) -> list[bool]:
        """The same of many actors: of the node of the relay of that name."""
        self._reported_at[relay] = time.monotonic()
        return [self._take(report) for report in reports]

    def _take(self, report: ActorReport) -> bool:
        name = f"actor {report.actor}"
        if report.number not in (received := self._received[name]):
            received.append(report.number)
            self._tally.actor(report)
        if report.number >= self._first.get(name, 0):  # else it comes by a relay, after its actor was lost
            self._reported_at[name] = time.monotonic()
        note_work()
        return name in self._dismissed

    @once
    def learner(self, report: LearnerReport) -> None:
        self._reported_at[LEARNER] = time.monotonic()
        self._tally.learner(report)
        note_work()

    def works(self, part: str) -> None:
        """That part, which has nothing else to report, does not hang."""
        self._reported_at[part] = time.monotonic()

    def dismiss(self, names: list[str]) -> None:
        """These actors are told to leave when they report."""
        self._dismissed.update(names)

    def forget(self, name: str) -> None:
        """That actor, or helper, is gone; what comes in its place has not reported yet, and is not to leave."""
        self._dismissed.discard(name)
        self._reported_at.pop(name, None)
        self._first[name] = (max(self._received[name], default=0) // NUMBERS + 1) * NUMBERS

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
