"""Adds up what the parts of a run report into one row of metrics."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from apex_ray.report.episodes import Reporter
from apex_ray.report.metrics import Lately, Rates, ReturnsByBand
from apex_ray.types import Counters, EpisodeEnd, FloatArray


@dataclass
class UpdateMeans:
    """Sums of metrics over updates, so that means over any stretch can be had."""

    updates: int = 0
    samples: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, metrics: Mapping[str, float], samples: int, updates: int = 1) -> None:
        self.updates += updates
        self.samples += samples
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        """By name; none before the first update."""
        return {name: value / self.updates for name, value in self.sums.items()}


NUMBERS = 1 << 32  # of reports: those of an actor's first process are below, those of its second follow


@dataclass
class ActorReport:
    """What one actor did since its last report."""

    actor: int
    steps: int
    version: int  # of the weights it acts with
    waited_s: float  # for replay to take a chunk
    elapsed_s: float
    episodes: list[EpisodeEnd] = field(default_factory=list)
    number: int = 0  # where it travels: another one for each report of that actor


@dataclass
class LearnerReport:
    """What the learner did since its last report."""

    updates: int  # in all
    waited_s: float  # for batches
    elapsed_s: float
    means: UpdateMeans


class Tally:
    """Totals of a run and the newest values. Not thread-safe: its owner calls it from one thread."""

    def __init__(
        self,
        epsilons: FloatArray,
        frame_skip: int,
        reporter: Reporter | None = None,
    ) -> None:
        self._frame_skip = frame_skip
        self._started = time.monotonic()
        self.frames = self.updates = self.episodes = 0
        self.reporter = reporter or Reporter()
        self._rates = Rates()
        self._returns = ReturnsByBand(epsilons)
        self._lengths = Lately()
        self._versions: dict[int, int] = {}
        self._actor_wait = (0.0, 0.0)  # waited, elapsed since the last row
        self._learner_wait = (0.0, 0.0)
        self._samples = 0
        self._means = UpdateMeans()

    def go_on_from(self, start: Counters) -> None:
        """Add what the run had reached before."""
        self._started -= start.time_s
        self.frames += start.frames
        self.episodes += start.episodes
        self.updates = self.updates or start.updates

    @property
    def time_s(self) -> float:
        return time.monotonic() - self._started

    def actor(self, report: ActorReport) -> None:
        self.frames += report.steps * self._frame_skip
        self._versions[report.actor] = report.version
        self._actor_wait = (self._actor_wait[0] + report.waited_s, self._actor_wait[1] + report.elapsed_s)
        self.episodes += len(report.episodes)
        for episode in report.episodes:
            self._returns.add(episode, self.time_s)
            if episode.values is not None:
                self.reporter.add(episode.values)
            self._lengths.add(episode.length_steps, self.time_s)

    def learner(self, report: LearnerReport) -> None:
        self.updates = report.updates
        self._learner_wait = (self._learner_wait[0] + report.waited_s, self._learner_wait[1] + report.elapsed_s)
        self._samples += report.means.samples
        self._means.add(report.means.sums, report.means.samples, report.means.updates)

    def row(self) -> dict[str, float]:
        """The metrics now; waiting times and update means cover the time since the last row."""
        now = self.time_s
        rates = self._rates.update(now, frames=self.frames, updates=self.updates, samples=self._samples)
        row = {
            "time_s": now,
            "frames": self.frames,
            "frames_per_s": rates["frames"],
            "steps_per_s": rates["frames"] / self._frame_skip,
            "episodes": self.episodes,
            "updates": self.updates,
            "updates_per_s": rates["updates"],
            "samples_per_s": rates["samples"],
            "learner_wait_s": self._learner_wait[0],
            **self._returns.metrics(now),
        }
        if self._versions:
            versions = [max(v, 0) for v in self._versions.values()]
            row["weights_version"] = max(versions)
            # Actors can have reported newer weights than the learner's last report knows of.
            row["policy_age_updates"] = max(self.updates, *versions) - float(np.mean(versions))
        for name, (waited, elapsed) in (("actor", self._actor_wait), ("learner", self._learner_wait)):
            if elapsed:
                row[f"{name}_wait_fraction"] = min(waited / elapsed, 1.0)
        if (length := self._lengths.mean(now)) is not None:
            row["episode_length_steps"] = length
        row |= self._means.means()
        self._actor_wait = self._learner_wait = (0.0, 0.0)
        self._means = UpdateMeans()
        return row
