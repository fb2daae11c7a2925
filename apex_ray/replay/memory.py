"""Prioritised replay in one process: chunks in, samples out, priorities back (Schaul et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from apex_ray import rng
from apex_ray.fields import AGES, Fields, chunk_bytes, stored, windowed
from apex_ray.replay.sum_tree import SumTree
from apex_ray.replay.windows import WindowStore
from apex_ray.types import AnyArray, Chunk, Float64Array, IntArray, PriorityUpdate


@dataclass
class Fresh:
    """What was written of windowed fields since the last time somebody took it."""

    segments: IntArray  # [G] where, oldest first
    fields: dict[str, AnyArray]  # [G, before + T + after, ...]
    series: int  # another one each time that all is given again, from the first on
    first: int  # how many of the series were given before


@dataclass
class Sample:
    """B steps drawn from one replay, with the masses that their probabilities follow from."""

    fields: dict[str, AnyArray]  # [B, window, ...] or [B, ...]; windowed ones only where they were asked for
    masses: Float64Array  # [B] (priority + floor)^alpha
    slots: IntArray  # [B]
    overwrites: IntArray  # [B]
    total_mass: float  # of the replay they came from, when they were drawn
    size: int  # its transitions
    fresh: Fresh | None = None


def segments_of(capacity: int, horizon: int) -> int:
    """Segments of T = `horizon` steps in a replay of that capacity."""
    return max(capacity // horizon, 1)


class PrioritizedReplay:
    """A ring of segments (one stream's T steps each) with one leaf of a sum tree per slot.

    Steps that are no transition take a slot of mass 0, which is never drawn. Eviction is first in, first out by
    segment.
    """

    def __init__(
        self,
        fields: Fields,
        capacity: int,
        horizon: int,
        alpha: float,
        seed: int,
        floor: float = 1e-6,
        overwrites_from: int = 0,
    ) -> None:
        """`overwrites_from`: where counts begin, so that priorities meant for samples of a lost replay are dropped."""
        self._horizon, self._alpha, self._floor = horizon, alpha, floor
        self.segments = segments_of(capacity, horizon)
        self.capacity = slots = self.segments * horizon
        self._rng = np.random.default_rng(seed)
        self._tree = SumTree(slots)
        every = stored(fields)
        self._windows = {name: WindowStore(field, self.segments, horizon) for name, field in windowed(every).items()}
        self._slots: dict[str, AnyArray] = {
            name: np.zeros((slots, *field.shape), field.dtype) for name, field in every.items() if not field.windowed
        }
        self._overwrites = np.zeros(self.segments, np.int64)  # how often the segment was written
        self._overwrites_from = overwrites_from
        self._valid = np.zeros(self.segments, np.int64)  # transitions in it
        self._cursor = 0
        self._unsent = 0  # segments before the cursor that `take_fresh` has not given yet
        self._series, self._given = overwrites_from, 0
        self.size = 0
        self.stale_updates = 0

    @staticmethod
    def bytes_needed(fields: Fields, capacity: int, horizon: int) -> int:
        """What a full replay of this capacity occupies."""
        segments = segments_of(capacity, horizon)
        tree = 2 * 8 * (1 << max(segments * horizon - 1, 1).bit_length())
        counts = 2 * np.dtype(np.int64).itemsize  # overwrites and transitions
        return segments * (chunk_bytes(stored(fields), horizon) + counts) + tree

    @property
    def total_mass(self) -> float:
        return self._tree.total

    def _masses(self, priorities: Float64Array) -> Float64Array:
        """What each |TD error| weighs in the tree."""
        masses: Float64Array = (priorities + self._floor) ** self._alpha
        return masses

    def add(self, chunk: Chunk) -> int:
        """Store a chunk, overwriting the oldest segments; returns the transitions stored."""
        masses = np.where(chunk.valid, self._masses(chunk.priorities), 0.0)
        return sum(self._add_segment(chunk, masses[e], e) for e in range(len(masses)))

    def _add_segment(self, chunk: Chunk, masses: Float64Array, e: int) -> int:
        segment, first = self._cursor, self._cursor * self._horizon
        for name, store in self._windows.items():
            store.write(segment, chunk.fields[name][e])
        for name, array in self._slots.items():
            array[first : first + self._horizon] = chunk.fields[name][e]
        self._tree.set_range(first, masses)
        valid = int(np.count_nonzero(chunk.valid[e]))
        self.size += valid - int(self._valid[segment])
        self._valid[segment] = valid
        self._overwrites[segment] += 1
        self._cursor = (segment + 1) % self.segments
        self._unsent = min(self._unsent + 1, self.segments)
        return valid

    @property
    def segment_bytes(self) -> int:
        """Of one segment's windowed fields."""
        return sum(store.all.nbytes for store in self._windows.values()) // self.segments

    @property
    def unsent(self) -> int:
        """Segments that `take_fresh` has still to give."""
        return self._unsent

    def take_fresh(self, limit: int) -> Fresh:
        """The oldest `limit` segments not given before, as they are now."""
        count = min(limit, self._unsent)
        segments = (self._cursor - self._unsent + np.arange(count)) % self.segments
        fields = {name: store.read(segments) for name, store in self._windows.items()}
        fresh = Fresh(segments, fields, self._series, self._given)
        self._unsent -= count
        self._given += count
        return fresh

    def send_all_again(self) -> None:
        """`take_fresh` gives every segment that was written."""
        self._unsent = int(np.count_nonzero(self._overwrites))
        self._series, self._given = self._series + 1, 0

    def sample(self, count: int, out: Mapping[str, AnyArray] | None = None, windows: bool = True) -> Sample:
        """`count` independent draws, probability proportional to (priority + floor)^alpha. Replay must not be empty.

        `out`: where to write the windowed fields, contiguous arrays [count, window, ...], instead of new ones.
        Without `windows` they are not in the sample.
        """
        slots = self._tree.sample(count, self._rng)
        fields = {name: array[slots] for name, array in self._slots.items()}
        if windows:
            for name, store in self._windows.items():
                fields[name] = store.gather(slots, fields[AGES], out[name] if out else None)
        return Sample(
            fields=fields,
            masses=self._tree.get(slots),
            slots=slots,
            overwrites=self._overwrites[slots // self._horizon] + self._overwrites_from,
            total_mass=self._tree.total,
            size=self.size,
        )

    def update_priorities(self, update: PriorityUpdate) -> None:
        """New priorities of sampled slots; those of slots overwritten since are dropped and counted."""
        current = self._overwrites[update.slots // self._horizon] + self._overwrites_from == update.overwrites
        self.stale_updates += int(np.count_nonzero(~current))
        self._tree.set(update.slots[current], self._masses(update.priorities[current]))

    def check_valid(self) -> None:
        """Raise AssertionError unless tree, counts and overwrites agree."""
        self._tree.check_valid()
        masses = self._tree.get(np.arange(self.capacity)).reshape(self.segments, self._horizon)
        assert np.array_equal(np.count_nonzero(masses, axis=1), self._valid), "a segment's count is off"
        assert self.size == self._valid.sum(), "the size is off"
        assert not self._valid[self._overwrites == 0].any(), "an unwritten segment has transitions"

    def state_arrays(self) -> dict[str, AnyArray]:
        """Everything needed to go on from here, as arrays (views of the live ones)."""
        return {
            **{f"fields/{name}": store.all for name, store in self._windows.items()},
            **{f"fields/{name}": array for name, array in self._slots.items()},
            "masses": self._tree.get(np.arange(self.capacity)),
            "generations": self._overwrites,  # so called in the files of earlier versions
            "valid": self._valid,
            "cursor": np.asarray([self._cursor, self.stale_updates], np.int64),
            "rng": rng.state_of(self._rng),
        }

    def load_state_arrays(self, state: dict[str, AnyArray]) -> None:
        """What `state_arrays` gave. Raises ValueError where a shape differs (another capacity or chunk length)."""
        mine = self.state_arrays()
        for name, array in mine.items():
            if name not in state or state[name].shape != array.shape:
                found = state[name].shape if name in state else "nothing"
                raise ValueError(f"saved replay does not fit: {name} is {found}, expected {array.shape}")
            if name not in ("masses", "cursor", "rng"):
                array[...] = state[name]
        self._tree.set_range(0, state["masses"].astype(np.float64))
        self._cursor, self.stale_updates = (int(x) for x in state["cursor"])
        rng.restore(self._rng, state["rng"])
        self.size = int(self._valid.sum())
        self.send_all_again()
