"""Prioritised replay in one process: chunks in, samples out, priorities back (Schaul et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from apex_ray import rng
from apex_ray.fields import AGES, Fields, stored, windowed
from apex_ray.replay.records import Fresh, Sample
from apex_ray.replay.room import segments_of
from apex_ray.replay.sum_tree import SumTree
from apex_ray.replay.windows import WindowStore
from apex_ray.types import AnyArray, Chunk, Float64Array, IntArray, PriorityUpdate


class PrioritizedReplay:
    """A ring of segments (one stream's T steps each) with one leaf of a sum tree per slot: each step, or, of samples
    that are sequences, each `stride`-th one, where one begins.

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
        stride: int = 1,
    ) -> None:
        """For `capacity` steps, in chunks of T = `horizon`, a multiple of `stride`.

        `overwrites_from`: where counts begin, so that priorities meant for samples of a lost replay are dropped.
        """
        self._in_segment, self._stride, self._alpha, self._floor = horizon // stride, stride, alpha, floor
        self.segments = segments_of(capacity, horizon)
        self.capacity = slots = self.segments * self._in_segment  # samples
        self._rng = np.random.default_rng(seed)
        self._tree = SumTree(slots)
        every = stored(fields)
        self._windows = {
            name: WindowStore(field, self.segments, horizon, stride) for name, field in windowed(every).items()
        }
        self._slots: dict[str, AnyArray] = {
            name: np.zeros((slots, *field.shape), field.dtype) for name, field in every.items() if not field.windowed
        }
        self._overwrites = np.zeros(self.segments, np.int64)  # how often the segment was written
        self._overwrites_from = overwrites_from
        self._valid = np.zeros(self.segments, np.int64)  # samples in it
        self.written = 0  # segments, those overwritten since among them: number n lies at n % segments
        self._unsent = 0  # of the newest segments, how many `take_fresh` has not given yet
        self._series, self._given = overwrites_from, 0
        self.size = 0  # samples
        self.stale_updates = 0

    @property
    def transitions(self) -> int:
        """Those stored: each sample stands for the steps up to the next one's first."""
        return self.size * self._stride

    @property
    def total_mass(self) -> float:
        return self._tree.total

    def _masses(self, priorities: Float64Array) -> Float64Array:
        """What each |TD error| weighs in the tree."""
        masses: Float64Array = (priorities + self._floor) ** self._alpha
        return masses

    def add(self, chunk: Chunk) -> int:
        """Store a chunk, overwriting the oldest segments; returns the samples stored."""
        masses = np.where(chunk.valid, self._masses(chunk.priorities), 0.0)
        return sum(self._add_segment(chunk, masses[e], e) for e in range(len(masses)))

    def _add_segment(self, chunk: Chunk, masses: Float64Array, e: int) -> int:
        segment = self.written % self.segments
        first = segment * self._in_segment
        for name, store in self._windows.items():
            store.write(segment, chunk.fields[name][e])
        for name, array in self._slots.items():
            array[first : first + self._in_segment] = chunk.fields[name][e]
        self._tree.set_range(first, masses)
        valid = int(np.count_nonzero(chunk.valid[e]))
        self.size += valid - int(self._valid[segment])
        self._valid[segment] = valid
        self._overwrites[segment] += 1
        self.written += 1
        self._unsent = min(self._unsent + 1, self.segments)
        return valid

    @property
    def segment_bytes(self) -> int:
        """Of one segment's windowed fields."""
        return sum(store.by_segment.nbytes for store in self._windows.values()) // self.segments

    @property
    def unsent(self) -> int:
        """Segments that `take_fresh` has still to give."""
        return self._unsent

    def take_fresh(self, limit: int) -> Fresh:
        """The oldest `limit` segments not given before, as they are now."""
        count = min(limit, self._unsent)
        segments = self._places(self.written - self._unsent, count)
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
            overwrites=self._overwrites[slots // self._in_segment] + self._overwrites_from,
            total_mass=self._tree.total,
        )

    def update_priorities(self, update: PriorityUpdate) -> None:
        """New priorities of sampled slots; those of slots overwritten since are dropped and counted."""
        current = self._overwrites[update.slots // self._in_segment] + self._overwrites_from == update.overwrites
        self.stale_updates += int(np.count_nonzero(~current))
        self._tree.set(update.slots[current], self._masses(update.priorities[current]))

    def check_valid(self) -> None:
        """Raise AssertionError unless tree, counts and overwrites agree."""
        self._tree.check_valid()
        masses = self._tree.get(np.arange(self.capacity)).reshape(self.segments, self._in_segment)
        assert np.array_equal(np.count_nonzero(masses, axis=1), self._valid), "a segment's count is off"
        assert self.size == self._valid.sum(), "the size is off"
        assert np.array_equal(self._overwrites, self._times_written()), "a segment's overwrites are off"
        assert not self._valid[self._overwrites == 0].any(), "an unwritten segment has transitions"

    @property
    def oldest(self) -> int:
        """The number of the oldest segment that is not overwritten."""
        return max(self.written - self.segments, 0)

    def _places(self, first: int, count: int) -> IntArray:
        """Where the segments with `count` numbers from `first` on lie."""
        return (first + np.arange(count)) % self.segments

    def _by_segment(self) -> dict[str, AnyArray]:
        """Every field, [segments, steps or samples of one, ...]: views."""
        windows = {name: store.by_segment for name, store in self._windows.items()}
        shape = self.segments, self._in_segment
        return windows | {name: array.reshape(*shape, *array.shape[1:]) for name, array in self._slots.items()}

    def read(self, first: int, count: int) -> dict[str, AnyArray]:
        """All fields of `count` segments from number `first` on, [count, steps or samples of one, ...]: copies.

        None of them may be overwritten.
        """
        places = self._places(first, count)
        return {name: array[places] for name, array in self._by_segment().items()}

    def write(self, first: int, fields: Mapping[str, AnyArray]) -> None:
        """Put back what `read` gave; `load_state` says what of it counts. ValueError where it does not fit."""
        for name, array in self._by_segment().items():
            given = fields.get(name)
            if given is None or given.shape[1:] != array.shape[1:] or given.dtype != array.dtype:
                found = "nothing" if given is None else f"{given.dtype} {list(given.shape[1:])}"
                expected = f"{array.dtype} {list(array.shape[1:])}"
                raise ValueError(f"of a segment's {name} it has {found}, expected {expected}")
            array[self._places(first, len(given))] = given

    def state(self) -> dict[str, AnyArray]:
        """Everything but the fields that is needed to go on from here: copies."""
        return {
            "masses": self._tree.get(np.arange(self.capacity)).reshape(self.segments, self._in_segment),
            "counts": np.asarray([self.written, self.stale_updates], np.int64),
            "rng": rng.state_of(self._rng),
        }

    def load_state(self, state: Mapping[str, AnyArray]) -> None:
        """What `state` gave. Segments without mass hold no transitions. ValueError for another capacity."""
        masses, expected = state["masses"].astype(np.float64), (self.segments, self._in_segment)
        if masses.shape != expected:
            raise ValueError(f"it has {list(masses.shape)} segments and samples, expected {list(expected)}")
        self._tree.set_range(0, masses.reshape(-1))
        self.written, self.stale_updates = (int(x) for x in state["counts"])
        self._overwrites[:] = self._times_written()
        self._valid[:] = np.count_nonzero(masses, axis=1)
        rng.restore(self._rng, state["rng"])
        self.size = int(self._valid.sum())
        self.send_all_again()

    def _times_written(self) -> IntArray:
        """How often each segment was, [segments]."""
        return (self.written - np.arange(self.segments) + self.segments - 1) // self.segments
