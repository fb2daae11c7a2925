"""What a run's loop drives: the parts on Ray, or in one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from apex_ray.types import AnyArray, Counters, EvaluationResult, Weights


class System(Protocol):
    """What runs: nodes.program.Program on Ray or serial.program.SerialProgram in this process."""

    counters: Counters  # where it started from

    def start(self, resume: bool, warm: Mapping[str, AnyArray] | None) -> None: ...
    def watch(self, timeout_s: float) -> bool: ...  # whether a limit of `stop` is reached for certain
    def checkpoint_wanted(self) -> bool: ...  # at once, whatever the settings say
    def row(self) -> dict[str, float]: ...
    def episode_rows(self) -> list[Any]: ...  # of the environment's own reporter
    def publish(self, row: Mapping[str, float]) -> None: ...
    def start_evaluation(self, counters: Counters, interrupted: Callable[[], bool]) -> None: ...
    def abandon_evaluation(self) -> None: ...  # that is under way; it ends soon
    def poll_evaluation(self) -> EvaluationResult | None: ...
    @property
    def evaluating(self) -> bool: ...
    def weights(self) -> Weights: ...  # the newest that actors may use
    def rest(self) -> int: ...  # no update follows: how many were made
    def end_actors(self) -> None: ...
    def let_go(self) -> None: ...  # the last call: its processes are ended next
    def save(self, counters: Counters) -> tuple[Path, int]: ...
    def send_rest(self) -> None: ...  # of what is written, to the run's URI where it has one
    def save_replay(self) -> None: ...  # as belonging to the last checkpoint
    def start_snapshot(self) -> None: ...  # the same, waited for only where nothing can go on meanwhile
