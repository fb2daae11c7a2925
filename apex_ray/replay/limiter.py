"""Keeps samples per inserted transition near a ratio, as Reverb's rate limiter does (Cassirer et al. 2021)."""

from __future__ import annotations

import math

from trainkit.errors import UserError


class Limiter:
    """Says whether a chunk may be inserted and how many samples may be drawn; the caller waits until they may.

    With `samples_per_insert` None only the minimum size counts and both sides run free. Otherwise
    drift = ratio * (inserted - min) - sampled stays within +- ratio * tolerance: actors wait above, the learner below.
    `wait_again` begins a new count, from there, after transitions were lost.
    """

    def __init__(
        self,
        min_transitions: int,
        samples_per_insert: float | None,
        tolerance_transitions: int,
        largest_insert: int,
        batch_size: int,
    ) -> None:
        self.min_transitions, self._ratio = min_transitions, samples_per_insert
        self.inserted = self.sampled = 0
        self._start, self._base = min_transitions, 0  # sampling begins at so many inserted, with so many sampled before
        if samples_per_insert is None:
            return
        self._bound = samples_per_insert * tolerance_transitions
        # Both sides would wait for each other if a drift existed that is too high to insert and too low to sample.
        needed = max(largest_insert, int(batch_size / samples_per_insert) + 1)
        if tolerance_transitions < needed:
            per_batch = batch_size / samples_per_insert
            raise UserError(
                f"replay.insert_tolerance_transitions = {tolerance_transitions} would deadlock: one chunk "
                f"brings up to {largest_insert} transitions and one batch of {batch_size} uses up {per_batch:g} at "
                f"samples_per_insert {samples_per_insert:g}; expected at least {needed}"
            )

    def may_insert(self) -> bool:
        """Whether the next chunk may be stored now. Below the minimum size it always may."""
        return self._ratio is None or self.inserted < self._start or self._due - self.sampled <= self._bound

    @property
    def samples_allowed(self) -> float:
        """How many samples may have been drawn in all by now. Grows with `inserted` and with nothing else."""
        if self.inserted < self._start:
            return 0.0
        return math.inf if self._ratio is None else self._due + self._bound

    @property
    def _due(self) -> float:
        """Samples that the transitions inserted so far ask for."""
        assert self._ratio is not None
        return self._base + self._ratio * (self.inserted - self._start)

    def wait_again(self, transitions: int) -> None:
        """Sample no more until so many are inserted, and by the ratio from then on."""
        self._start, self._base = self.inserted + transitions, self.sampled

    def start_from(self, inserted: int, sampled: int) -> None:
        """Go on with saved counts. A drift outside the bounds, as under another ratio, goes to the nearest bound."""
        self.inserted, self.sampled = inserted, sampled
        if self._ratio is not None:
            low, high = math.ceil(self._due - self._bound), math.floor(self._due + self._bound)
            self.sampled = max(min(max(sampled, low), high), 0)

    @property
    def ratio(self) -> float:
        """Samples per inserted transition since learning could start; 0 before."""
        return self.sampled / max(self.inserted - self.min_transitions, 1) if self.sampled else 0.0
