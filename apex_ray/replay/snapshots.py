"""Snapshots of a replay shard: a folder of its run, to which each adds what was stored since the one before.

replay/shard-0/  segments-*.safetensors  some tens of MB of segments each, as they were stored; never written to again
                 state-*.safetensors     which of them count and how much, random numbers
                 manifest.json           the SHA-256 of each file of the newest snapshot, written last

A process that is killed as it writes leaves the snapshot before as it was.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from apex_ray.replay.memory import PrioritizedReplay
from apex_ray.types import AnyArray
from trainkit.errors import NotWrittenError, UserError
from trainkit.manifest import MANIFEST, DamagedError, check, seal, sealed_files, sha256

REPLAY = "replay"  # the folder in a run's
PIECE_BYTES = 32 * 2**20  # about: what is copied while inserts wait
STATE = re.compile(r"state-\w+\.safetensors")


def shard_folder(run: Path, shard: int) -> Path:
    return run / REPLAY / f"shard-{shard}"


def saved_shards(run: Path) -> list[Path]:
    """The folders of all shards that a run has snapshots of."""
    return sorted(path.parent for path in (run / REPLAY).glob(f"shard-*/{MANIFEST}"))


@dataclass(frozen=True)
class Restored:
    """What a snapshot brought back."""

    update: int  # of the checkpoint that it was made after
    inserted: int  # in the run up to then, 0 from a shard that does not count
    sampled: int  # likewise
    transitions: int
    lost_segments: int  # in files that are damaged

    def __str__(self) -> str:
        lost = f"; {self.lost_segments:,} segments are lost in damaged files" if self.lost_segments else ""
        return f"{self.transitions:,} transitions as of update {self.update:,}{lost}"


@dataclass(frozen=True)
class _Piece:
    first: int  # segments' numbers
    end: int
    name: str
    sha256: str


class Snapshots:
    """Of one shard's memory in one folder, by one writer at a time."""

    def __init__(self, folder: Path, memory: PrioritizedReplay, lock: AbstractContextManager[object] | None = None):
        """`lock`: held by whoever changes the memory meanwhile."""
        self._folder, self._memory, self._lock = folder, memory, lock or nullcontext()
        self._name = uuid.uuid4().hex[:12]  # files of another writer, such as a run that was killed, stay whole
        self._states = 0
        self._pieces: list[_Piece] = []

    def save(self, update: int, counts: Callable[[], tuple[int, int]]) -> None:
        """What the memory holds now, as made after the checkpoint of `update`; NotWrittenError leaves the one before.

        The lock is held for a copy of the masses and of one piece at a time. What is overwritten before it is copied
        is not in the snapshot.

        Args:
            update: of that checkpoint.
            counts: gives the transitions inserted and sampled in the run, (0, 0) from a shard that does not count.

        """
        memory = self._memory
        with self._lock:
            state, oldest, end, counted = memory.state(), memory.oldest, memory.written, counts()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            there = [p for p in self._pieces if p.end > oldest and (self._folder / p.name).exists()]
            self._pieces = there
            for first, until in _gaps([(p.first, p.end) for p in there], oldest, end):
                self._add_pieces(first, until, state["masses"])
            self._pieces.sort(key=lambda piece: piece.first)
            facts = {
                "update": update,
                "counts": counted,
                "pieces": [[piece.first, piece.end, piece.name] for piece in self._pieces],
            }
            self._states += 1
            name = f"state-{self._name}{self._states}.safetensors"
            sealed = {piece.name: piece.sha256 for piece in self._pieces}
            sealed[name] = write_whole(self._folder / name, state, {"facts": json.dumps(facts)})
            seal(self._folder, sealed)
            for path in self._folder.iterdir():
                if path.name not in sealed and path.name != MANIFEST:
                    path.unlink()
        except OSError as error:
            raise NotWrittenError(f"replay {self._folder} can't be written: {error.strerror or error}") from None

    def _add_pieces(self, first: int, until: int, masses: AnyArray) -> None:
        """Write segments `first` to `until`; the masses of those that are overwritten by now become 0."""
        memory, count = self._memory, max(PIECE_BYTES // self._memory.segment_bytes, 1)
        while first < until:
            with self._lock:
                start, end = max(first, memory.oldest), min(first + count, until)
                fields = memory.read(start, end - start) if start < end else None
            masses[np.arange(first, min(start, until)) % memory.segments] = 0
            if fields is not None:
                name = f"segments-{self._name}-{start:012d}.safetensors"
                self._pieces.append(_Piece(start, end, name, write_whole(self._folder / name, fields, {})))
            first = max(start, end)

    def load(self) -> Restored:
        """Fill the memory with the newest snapshot, whose files the next one builds on.

        Pieces that are damaged are left out. DamagedError where nothing can be used: the folder is renamed then.
        UserError for a snapshot of another capacity, chunk length or agent.
        """
        folder = self._folder
        try:
            return self._load()
        except DamagedError as error:
            aside = folder.with_name(f"damaged-{folder.name}")
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
            raise DamagedError(f"its snapshot can't be used, kept as {REPLAY}/{aside.name}: {error}") from None

    def _load(self) -> Restored:
        folder, memory = self._folder, self._memory
        sealed = sealed_files(folder)
        names = [name for name in sealed if STATE.fullmatch(name)]
        if len(names) != 1:
            raise DamagedError(f"{MANIFEST} names {len(names)} states, expected one")
        check(folder, names)
        try:
            with safe_open(folder / names[0], "numpy") as file:
                facts = json.loads(file.metadata()["facts"])
            state, lost = load_file(folder / names[0]), 0
            oldest = int(state["counts"][0]) - memory.segments  # a piece may hold some that were overwritten since
            for first, end, name in facts["pieces"]:
                try:
                    check(folder, [name])
                    memory.write(first, load_file(folder / name))
                    self._pieces.append(_Piece(first, end, name, sealed[name]))
                except DamagedError:
                    left = np.arange(max(first, oldest), end)
                    state["masses"][left % memory.segments] = 0
                    lost += len(left)
            memory.load_state(state)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{folder} does not fit: {error}; delete it to resume with an empty replay") from None
        inserted, sampled = facts["counts"]
        return Restored(facts["update"], inserted, sampled, memory.size, lost)


def _gaps(taken: list[tuple[int, int]], first: int, end: int) -> Iterator[tuple[int, int]]:
    """The ranges of [first, end) that `taken` leaves, which are in order and don't overlap."""
    for start, until in [*taken, (end, end)]:
        if first < start:
            yield first, start
        first = max(first, until)


def write_whole(path: Path, arrays: dict[str, AnyArray], metadata: dict[str, str]) -> str:
    """A safetensors file that appears whole or, with OSError, not at all; its SHA-256."""
    partial = path.with_suffix(".partial")
    try:
        save_file(arrays, partial, metadata)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except SafetensorError as error:
        raise OSError(f"{path}: {error}") from None
    finally:
        partial.unlink(missing_ok=True)
    return sha256(path)
