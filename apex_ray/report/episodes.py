"""What an environment says of its episodes beside their returns: the contract of who adds it up and reports it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apex_ray.dotted import imported
from apex_ray.types import EpisodeValues, EvaluationResult


class Reporter:
    """The contract; as it stands it reports nothing, which is what most environments want.

    An environment whose steps have `ends` names a subclass in its EnvSpec. Training's totals are added up where all
    metrics are, which may be another process than the one that writes: rows must be picklable. Files that can't be
    written raise OSError, which the run survives.
    """

    def __init__(self, scores_of: str = "") -> None:
        """`scores_of` as in EnvSpec: tables and files must say so."""

    def add(self, values: EpisodeValues) -> None:
        """Count a training episode."""

    def rows(self) -> list[Any]:
        """The totals of all training episodes added so far."""
        return []

    def write(self, run: Path, rows: Sequence[Any], progress: Mapping[str, float]) -> None:
        """Put totals, as `rows` gave them, into the run folder's files; `progress`: time_s, frames, updates."""

    def write_evaluation(self, run: Path, result: EvaluationResult, time_s: float) -> None:
        """Put an evaluation's `episode_values` into the run folder's files; `time_s` of training."""

    def table(self, episodes: Sequence[EpisodeValues]) -> str:
        """An evaluation's episodes as text; "" for none."""
        return ""

    def plot(self, run: Path) -> Path | None:
        """Draw a picture of what `write` wrote into the run folder. None where there is nothing yet."""
        return None

    def summary(self, rows: Sequence[Any], plot: Path | None) -> list[str]:
        """Lines for the end of a run, with the picture's path where one was drawn."""
        return []


def reporter_named(name: str, scores_of: str = "") -> Reporter:
    """The reporter of an EnvSpec's `reporter` and `scores_of`. UserError where that does not import."""
    if not name:
        return Reporter()
    reporter: Reporter = imported(name, "the environment's reporter")(scores_of)
    return reporter
