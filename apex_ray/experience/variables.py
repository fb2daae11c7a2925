"""How an actor gets new weights: asks now and then, never waits, never goes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from apex_ray.types import Weights


class VariableSource(Protocol):
    """Where weights come from. Both calls return at once, but for the first answer, which may be waited for."""

    def request(self, newer_than: int) -> None:
        """Ask for weights newer than this version."""
        ...

    def poll(self) -> Weights | None:
        """The answer to the last request if it has come and there are newer ones."""
        ...


class Variables(Protocol):
    """What keeps an actor's Q-function up to date."""

    version: int  # of the weights in use

    def step(self) -> None:
        """Called once per agent step of the vector environment."""
        ...


class VariableClient:
    """Asks `source` every `every_steps` steps and hands what is newer to `load`."""

    def __init__(self, source: VariableSource, every_steps: int, load: Callable[[Weights], None]) -> None:
        self._source, self._every, self._load = source, every_steps, load
        self.steps = 0  # so far
        self.version = -1

    def step(self) -> None:
        """Call once per agent step of the vector environment."""
        weights = self._source.poll()
        if weights is not None and weights.version > self.version:
            self._load(weights)
            self.version = weights.version
        if self.steps % self._every == 0:
            self._source.request(self.version)
        self.steps += 1
