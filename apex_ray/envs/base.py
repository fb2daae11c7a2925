"""The contract between an actor (or evaluator) and its environments."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from apex_ray.types import AnyArray, EnvSpec, IntArray, Observations, Step


class VectorEnv(Protocol):
    """E environments stepped together, in two halves so that work can be done while they emulate.

    Each episode ends with its own final observation; the step after it ignores the action, starts a new episode and
    is marked `first` (next-step autoreset). What is observed at a step that is not `first` is that of the step before,
    shifted by one frame. At a `first` step the frames before the first one are zeros (as ALE does).
    """

    spec: EnvSpec  # whole once `reset` was called
    num_envs: int

    def reset(self, seed: int) -> Observations:
        """Start all episodes; environment e uses seed + e."""
        ...

    def send(self, actions: IntArray) -> None:
        """Start one step with actions [E], or [E, K] of K branches."""
        ...

    def recv(self) -> Step:
        """Wait for that step."""
        ...

    def render(self, index: int) -> AnyArray:
        """A picture [H, W, 3] uint8 of environment `index` now, for videos."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class RecordsMovies(Protocol):
    """Environments whose emulator writes down the buttons of an episode, so that it can be played again elsewhere."""

    movie_suffix: str  # of its files

    def record(self, index: int, folder: Path | None) -> None:
        """Record the episodes that environment `index` starts from now on as `folder`/0, 1 ... with `movie_suffix`.

        None: record no more.
        """
        ...


@runtime_checkable
class FilmsOne(Protocol):
    """Environments that must be told before an episode which one of them will be rendered."""

    def film(self, index: int | None) -> None:
        """From the next reset on, `render(index)` is the game's own picture; None: of none any more."""
        ...


@runtime_checkable
class Noted(Protocol):
    """Environments that have remarks for the user."""

    @property
    def notes(self) -> list[str]:
        """What is not as the environment says and does no harm, for the user."""
        ...


class ProcessLostError(RuntimeError):
    """A process that an environment needs ended by itself: no mistake in the environment, it can be started anew."""
