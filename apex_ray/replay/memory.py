"""Prioritised replay in one process: chunks in, samples out, priorities back (Schaul et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apex_ray import rng
from apex_ray.replay.frames import FrameStore
from apex_ray.replay.sum_tree import SumTree
from apex_ray.td import PRIORITY_FLOOR
from apex_ray.types import AnyArray, ByteArray, Chunk, EnvSpec, Float64Array, FloatArray, IntArray, PriorityUpdate


@dataclass
class Fresh:
    """Frames that were written since the last time somebody took them."""

    segments: IntArray  # [G] where, oldest first
    frames: AnyArray  # [G, T + S - 1 + n, *F]


@dataclass
class Sample:
    """B transitions drawn from one replay, with the masses that their probabilities follow from."""

    frames: AnyArray  # [B, S + n, *F], or empty where the caller has them
    actions: IntArray  # [B]
    returns: FloatArray  # [B]
    discounts: FloatArray  # [B]
    steps: ByteArray  # [B]
    ages: ByteArray  # [B]
    masses: Float64Array  # [B] priority^alpha
    slots: IntArray  # [B]
    generations: IntArray  # [B]
    total_mass: float  # of the replay they came from, when they were drawn
    size: int  # its transitions
    fresh: Fresh | None = None


class PrioritizedReplay:
    """A ring of segments (one stream's T transitions each) with one leaf of a sum tree per slot.

    Autoreset steps take a slot of mass 0, which is never drawn. Eviction is first in, first out by segment.
    """

    def __init__(self, spec: EnvSpec, capacity: int, chunk_transitions: int, n_step: int, alpha: float, seed: int):
        self._horizon = chunk_transitions
        self.segments = max(capacity // chunk_transitions, 1)
        self.capacity = slots = self.segments * chunk_transitions
        self._alpha = alpha
        self._rng = np.random.default_rng(seed)
        self._store = FrameStore(
            self.segments, chunk_transitions, spec.stack, n_step, spec.frame_shape, spec.frame_dtype
        )
        self._tree = SumTree(slots)
        self._actions = np.zeros(slots, np.int32)
        self._returns = np.zeros(slots, np.float32)
        self._discounts = np.zeros(slots, np.float32)
        self._steps = np.zeros(slots, np.uint8)
        self._ages = np.zeros(slots, np.uint8)
        self._generations = np.zeros(self.segments, np.int64)  # how often the segment was written
        self._valid = np.zeros(self.segments, np.int64)  # transitions in it
        self._cursor = 0
        self._unsent = 0  # segments before the cursor that `take_fresh` has not given yet
        self.size = 0
        self.stale_updates = 0

    @staticmethod
    def bytes_needed(spec: EnvSpec, capacity: int, chunk_transitions: int, n_step: int) -> int:
        """What a full replay of this capacity occupies."""
        segments = max(capacity // chunk_transitions, 1)
        frames = FrameStore.bytes_per_segment(chunk_transitions, spec.stack, n_step, spec.frame_bytes)
        slots = segments * chunk_transitions
        tree = 2 * 8 * (1 << max(slots - 1, 1).bit_length())
        return segments * (frames + 16) + slots * (4 + 4 + 4 + 1 + 1) + tree

    @property
    def total_mass(self) -> float:
        return self._tree.total

    def add(self, chunk: Chunk) -> int:
        """Store a chunk, overwriting the oldest segments; returns the transitions stored."""
        added = 0
        for e in range(len(chunk.actions)):
            added += self._add_segment(chunk, e)
        return added

    def _add_segment(self, chunk: Chunk, e: int) -> int:
        segment, first = self._cursor, self._cursor * self._horizon
        slots = slice(first, first + self._horizon)
        self._store.write(segment, chunk.frames[e])
        self._actions[slots] = chunk.actions[e]
        self._returns[slots] = chunk.returns[e]
        self._discounts[slots] = chunk.discounts[e]
        self._steps[slots] = chunk.steps[e]
        self._ages[slots] = chunk.ages[e]
        self._tree.set_range(first, chunk.priorities[e] ** self._alpha if self._alpha else chunk.priorities[e] > 0)
        valid = int(np.count_nonzero(chunk.priorities[e]))
        self.size += valid - int(self._valid[segment])
        self._valid[segment] = valid
        self._generations[segment] += 1
        self._cursor = (segment + 1) % self.segments
        self._unsent = min(self._unsent + 1, self.segments)
        return valid

    @property
    def segment_bytes(self) -> int:
        """Of one segment's frames."""
        return self._store.nbytes // self.segments

    @property
    def unsent(self) -> int:
        """Segments that `take_fresh` has still to give."""
        return self._unsent

    def take_fresh(self, limit: int) -> Fresh:
        """The oldest `limit` segments not given before, as they are now."""
        count = min(limit, self._unsent)
        segments = (self._cursor - self._unsent + np.arange(count)) % self.segments
        self._unsent -= count
        return Fresh(segments, self._store.read(segments))

    def sample(self, count: int, out: AnyArray | None = None, frames: bool = True) -> Sample:
        """`count` independent draws, probability proportional to priority^alpha. Replay must not be empty.

        `out`: where to write their frames, a contiguous array [count, S + n, *F], instead of a new one. Without
        `frames` there are none in the sample.
        """
        slots = self._tree.sample(count, self._rng)
        ages = self._ages[slots]
        shown = count if frames else 0
        return Sample(
            frames=self._store.gather(slots[:shown], ages[:shown], out),
            actions=self._actions[slots].astype(np.int64),
            returns=self._returns[slots],
            discounts=self._discounts[slots],
            steps=self._steps[slots],
            ages=ages,
            masses=self._tree.get(slots),
            slots=slots,
            generations=self._generations[slots // self._horizon],
            total_mass=self._tree.total,
            size=self.size,
        )

    def update_priorities(self, update: PriorityUpdate) -> None:
        """New priorities of sampled slots; those of slots overwritten since are dropped and counted."""
        current = self._generations[update.slots // self._horizon] == update.generations
        self.stale_updates += int(np.count_nonzero(~current))
        masses = (update.priorities[current] + PRIORITY_FLOOR) ** self._alpha
        self._tree.set(update.slots[current], masses)

    def check_valid(self) -> None:
        """Raise AssertionError unless tree, counts and generations agree."""
        self._tree.check_valid()
        masses = self._tree.get(np.arange(self.capacity)).reshape(self.segments, self._horizon)
        assert np.array_equal(np.count_nonzero(masses, axis=1), self._valid), "a segment's count is off"
        assert self.size == self._valid.sum(), "the size is off"
        assert not self._valid[self._generations == 0].any(), "an unwritten segment has transitions"

    def state_arrays(self) -> dict[str, AnyArray]:
        """Everything needed to go on from here, as arrays (views of the live ones)."""
        slots = np.arange(self.capacity)
        return {
            "frames": self._store.all,
            "masses": self._tree.get(slots),
            "actions": self._actions,
            "returns": self._returns,
            "discounts": self._discounts,
            "steps": self._steps,
            "ages": self._ages,
            "generations": self._generations,
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
        self._unsent = int(np.count_nonzero(self._generations))
