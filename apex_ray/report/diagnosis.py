"""Which part of a run holds the others up, by who waits for whom, and what can be changed about it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from apex_ray.config.load import load_run_config
from apex_ray.config.schema import ApexConfig
from apex_ray.report.reading import Row, read_jsonl, resumed
from trainkit.errors import UserError
from trainkit.rows import FILE
from trainkit.words import plural

OVER_S = 60.0  # of training, that waiting times are means of
MUCH = 0.25  # of its time, that a part waits: below, waiting is no bottleneck
OLD_WEIGHTS = 8  # times learner.publish_every_updates
ACTORS, REPLAY, LEARNER, WEIGHTS, NOBODY = "actors", "replay", "learner", "weights", "nobody"


@dataclass(frozen=True)
class Diagnosis:
    """The bottleneck, how it shows, and what to change."""

    part: str
    why: str
    change: str

    @property
    def lines(self) -> list[str]:
        return [f"bottleneck: {self.part} ({self.why})", f"to change: {self.change}"]


def diagnose(rows: Sequence[Mapping[str, float]], config: ApexConfig) -> Diagnosis | None:
    """Of rows of metrics in order of time, by those of the last OVER_S seconds; None while nothing is learned yet."""
    last_s = rows[-1]["time_s"] if rows else 0.0
    recent = [row for row in rows if row["time_s"] > last_s - OVER_S and row.get("updates_per_s")]
    if len(recent) < 2:
        return None
    learner, actors = _mean(recent, "learner_wait_fraction"), _mean(recent, "actor_wait_fraction")
    ratio = config.replay.samples_per_insert
    if max(learner, actors) > MUCH:
        return _who_waits(learner, actors, ratio)
    age, every = _mean(recent, "policy_age_updates"), config.learner.publish_every_updates
    if age > OLD_WEIGHTS * every:
        return Diagnosis(
            WEIGHTS,
            f"actors act with weights that are {plural(round(age), 'update')} old; a version comes every {every}",
            "a smaller actors.weights_every_steps; learner and actors on nodes with a faster network between them",
        )
    return Diagnosis(
        NOBODY,
        f"the learner waits {learner:.0%} and the actors {actors:.0%} of their time: the cores that they have are busy",
        "more cores or a GPU; actors.count and learner.threads share out those that there are",
    )


def _who_waits(learner: float, actors: float, ratio: float | None) -> Diagnosis:
    if ratio is None:
        who, share = ("learner", learner) if learner > actors else ("actors", actors)
        return Diagnosis(
            REPLAY,
            f"the {who} {'waits' if who == 'learner' else 'wait'} {share:.0%} of the time for it, and no limit says so",
            "replay.shards; learner.prefetch_batches; with a GPU, replay.frames=learner; a larger "
            "actors.chunk_transitions where a network is slow",
        )
    if learner > actors:
        return Diagnosis(
            ACTORS,
            f"the learner waits {learner:.0%} of its time for transitions, at {ratio:g} samples of each",
            "more in actors.count; actors.groups=2 or actors.inference=node; a larger replay.samples_per_insert",
        )
    return Diagnosis(
        LEARNER,
        f"the actors wait {actors:.0%} of their time for it to take {ratio:g} samples of each transition",
        "learner.threads, learner.compile=auto, learner.bf16=auto, a GPU; a smaller replay.samples_per_insert or "
        "learner.batch_size",
    )


def _mean(rows: Sequence[Mapping[str, float]], name: str) -> float:
    known = [row[name] for row in rows if name in row]
    return sum(known) / len(known) if known else 0.0


class Diagnoses:
    """While a run goes on: the bottleneck, once it has been another for a minute of training."""

    def __init__(self, config: ApexConfig) -> None:
        self._config = config
        self._rows: deque[Mapping[str, float]] = deque(maxlen=1000)
        self._shown, self._found, self._since_s = "", "", 0.0

    def line(self, row: Mapping[str, float]) -> str | None:
        """What there is to say now that this row has come."""
        self._rows.append(row)
        found = diagnose(self._rows, self._config)
        part = "" if found is None else found.part
        if part != self._found:
            self._found, self._since_s = part, row["time_s"]
        if found is None or part == self._shown or row["time_s"] - self._since_s < OVER_S:
            return None
        self._shown = part
        return f"{found.lines[0]}; apex-ray doctor RUN says what to change"


def doctor(run: Path) -> list[str]:
    """Lines about a run, from what it has written. UserError while it has written too little."""
    rows: list[Row] = [row for row in resumed(read_jsonl(run / FILE), "time_s") if "updates" in row]
    found = diagnose(rows, load_run_config(run).config)
    if found is None:
        raise UserError(f"{run}: nothing was learned yet, or for too short a time; expected {OVER_S:.0f} s of learning")
    lost = rows[-1].get("restarts", 0)
    restarts = [f"lost processes that were replaced: {lost:.0f} (the console named them)"] if lost else []
    return [f"over the last {OVER_S:.0f} s, at {rows[-1]['updates']:,.0f} updates:", *found.lines, *restarts]
