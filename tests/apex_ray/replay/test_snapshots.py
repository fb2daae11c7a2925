"""Snapshots: what comes back is what was there at one moment, whatever is killed, damaged, overwritten or full."""

import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from scipy.stats import chisquare

from apex_ray.replay import shards, snapshots
from apex_ray.replay.snapshots import Snapshots, saved_shards, shard_folder
from apex_ray.types import PriorityUpdate
from tests.apex_ray.bad_inputs.environments import room_bytes
from tests.apex_ray.replay.test_memory import HORIZON, make_chunk, replay
from trainkit.errors import NotWrittenError, UserError
from trainkit.manifest import MANIFEST, DamagedError


@pytest.fixture
def small_pieces(monkeypatch):
    """Two segments a file."""
    monkeypatch.setattr(snapshots, "PIECE_BYTES", 2 * replay().segment_bytes)


def no_counts():
    return 0, 0


def contents(memory):
    """Everything that a replay holds, by the numbers of its segments: what of it is not drawn does not count."""
    masses = memory.state()["masses"]
    numbers = [n for n in range(memory.oldest, memory.written) if masses[n % memory.segments].any()]
    fields = {n: [array.tobytes() for array in memory.read(n, 1).values()] for n in numbers}
    return memory.written, {n: (masses[n % memory.segments].tobytes(), *fields[n]) for n in numbers}


def restored(folder, **given):
    memory = replay(**given)
    found = Snapshots(folder, memory).load()
    memory.check_valid()
    assert found.transitions == memory.size
    return memory


class KilledError(Exception):
    """The process is gone in the middle of its work."""


class Machine(RuleBasedStateMachine):
    """A shard that inserts, learns, saves, is killed, as it saves too, and comes back."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp()) / "shard-0"
        self.capacity, self.first, self.updates = 6 * HORIZON, 0, 0
        self.saved = None  # contents at the last whole snapshot
        self.pending = []
        self.overwrites_from = 0
        self.start()

    def start(self):
        self.memory = replay(self.capacity, seed=self.first, overwrites_from=self.overwrites_from)
        self.snapshots = Snapshots(self.folder, self.memory)

    def teardown(self):
        shutil.rmtree(self.folder.parent)

    @rule(streams=st.integers(1, 3))
    def add(self, streams):
        self.memory.add(make_chunk(self.first, streams))
        self.first += HORIZON

    @precondition(lambda self: self.memory.size)
    @rule(count=st.integers(1, 9))
    def sample(self, count):
        self.pending.append(self.memory.sample(count))

    @precondition(lambda self: self.pending)
    @rule()
    def update(self):
        """Also what was drawn before a loss, which then must not count."""
        sample, before = self.pending.pop(0), self.memory.total_mass
        lost = sample.overwrites[0] < self.overwrites_from
        new = np.random.default_rng(self.first).random(len(sample.slots)) * 10
        self.memory.update_priorities(PriorityUpdate(sample.slots, sample.overwrites, new))
        assert not lost or self.memory.total_mass == before

    @rule()
    def snapshot(self):
        self.updates += 1
        self.snapshots.save(self.updates, lambda: (self.first, self.updates))
        self.saved = (*contents(self.memory), self.first, self.updates)

    @rule(files=st.integers(0, 3), whole=st.booleans())
    def killed_while_saving(self, files, whole):
        """After so many files; the last of them may be half there."""
        write, left = snapshots.write_whole, [files]

        def some(path, arrays, metadata):
            left[0] -= 1
            if left[0] < 0:
                if not whole:
                    path.with_suffix(".partial").write_bytes(b"half")
                raise KilledError
            return write(path, arrays, metadata)

        snapshots.write_whole = some
        try:
            self.snapshot()
        except KilledError:
            self.lose()
        finally:
            snapshots.write_whole = write

    @rule()
    def lose(self):
        self.overwrites_from += 10**6
        self.start()
        if self.saved is None:
            assert not (self.folder / MANIFEST).exists()
            return
        found = self.snapshots.load()
        *held, inserted, update = self.saved
        assert contents(self.memory) == tuple(held)
        assert (found.inserted, found.update, found.lost_segments) == (inserted, update, 0)

    @precondition(lambda self: self.saved)
    @rule()
    def files_are_deleted(self):
        """As a trial does that has loaded them."""
        shutil.rmtree(self.folder)
        self.saved = None

    @invariant()
    def is_valid(self):
        self.memory.check_valid()

    @precondition(lambda self: self.saved)
    @invariant()
    def the_disk_holds_little_more_than_the_memory(self):
        held = sum(path.stat().st_size for path in self.folder.iterdir())
        segment = sum(array.nbytes for array in self.memory.read(0, 1).values())
        assert held <= (self.memory.segments + 2 * 3 * 2) * (segment + 700) + 4096


Machine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)


@pytest.mark.usefixtures("small_pieces")
class TestSequences(Machine.TestCase):
    """Thousands of steps of random sequences of these."""


def test_only_what_is_new_is_written(tmp_path, small_pieces):
    memory = replay(capacity=20 * HORIZON)
    saving = Snapshots(tmp_path, memory)
    for i in range(4):
        memory.add(make_chunk(i * HORIZON))
    saving.save(1, no_counts)
    first = {path.name: path.stat().st_ino for path in tmp_path.glob("segments-*")}
    assert len(first) == 4, "8 segments, two a file"
    drawn = memory.sample(9)
    memory.update_priorities(PriorityUpdate(drawn.slots, drawn.overwrites, 5 * drawn.masses))
    memory.add(make_chunk(90))
    saving.save(2, no_counts)
    second = {path.name: path.stat().st_ino for path in tmp_path.glob("segments-*")}
    assert first.items() < second.items() and len(second) == 5
    for i in range(9):
        memory.add(make_chunk(i * HORIZON))  # of 28 segments the first eight are overwritten
    saving.save(3, no_counts)
    third = {path.name for path in tmp_path.glob("segments-*")}
    assert not third & first.keys() and contents(restored(tmp_path, capacity=20 * HORIZON)) == contents(memory)
    assert len(list(tmp_path.glob("state-*"))) == 1


def test_inserts_go_on_while_a_snapshot_is_written(tmp_path, small_pieces, monkeypatch):
    """A chunk after each file: what was overwritten before it was copied is left out, the rest is as it was."""
    memory, lock = replay(capacity=20 * HORIZON), threading.Lock()
    for i in range(10):
        memory.add(make_chunk(i * HORIZON))
    (written, before), write = contents(memory), snapshots.write_whole

    def insert_too(path, arrays, metadata):
        with lock:  # it is free
            memory.add(make_chunk(1000 + memory.written, streams=3))
        return write(path, arrays, metadata)

    monkeypatch.setattr(snapshots, "write_whole", insert_too)
    Snapshots(tmp_path, memory, lock).save(1, no_counts)
    cut, found = contents(restored(tmp_path, capacity=20 * HORIZON))
    assert cut == written and found.items() < before.items()
    assert sorted(found) == [n for n in sorted(before) if n in found] and len(found) >= 8
    assert max(found) == max(before), "the newest are the last that inserts reach"


def test_a_damaged_file_costs_its_own_segments(tmp_path, small_pieces):
    memory = replay(capacity=20 * HORIZON)
    for i in range(13):
        memory.add(make_chunk(i * HORIZON))
    Snapshots(tmp_path, memory).save(7, lambda: (300, 200))
    _, whole = contents(memory)
    second = sorted(tmp_path.glob("segments-*"))[1]
    with second.open("r+b") as file:
        file.seek(-3, 2)
        file.write(b"???")
    other = replay(capacity=20 * HORIZON)
    found = Snapshots(tmp_path, other).load()
    other.check_valid()
    assert contents(other)[1] == {n: segment for n, segment in whole.items() if n not in (8, 9)}
    assert (found.lost_segments, found.inserted, found.sampled) == (2, 300, 200)
    assert str(found) == f"{other.size:,} transitions as of update 7; 2 segments are lost in damaged files"


@pytest.mark.parametrize("pattern", ["state-*", MANIFEST])
@pytest.mark.parametrize("damage", ["cut", "gone", "other"])
def test_a_snapshot_of_which_nothing_can_be_used_is_set_aside(tmp_path, pattern, damage):
    folder, memory = shard_folder(tmp_path, 0), replay()
    memory.add(make_chunk(0))
    Snapshots(folder, memory).save(1, no_counts)
    (path,) = folder.glob(pattern)
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:20] if damage == "cut" else b'{"sha256": {}}')
    with pytest.raises(DamagedError, match=r"its snapshot can't be used, kept as replay/damaged-shard-0: .*"):
        Snapshots(folder, replay()).load()
    assert saved_shards(tmp_path) == [] and list((tmp_path / "replay").iterdir()) == [
        folder.with_name("damaged-shard-0")
    ]


def test_another_capacity_is_refused_and_nothing_is_moved(tmp_path):
    memory = replay()
    memory.add(make_chunk(0))
    Snapshots(tmp_path, memory).save(1, no_counts)
    with pytest.raises(
        UserError, match=r"does not fit: it has \[10, 4\] segments and samples, expected \[20, 4\]; delete"
    ):
        Snapshots(tmp_path, replay(capacity=80)).load()
    assert contents(restored(tmp_path)) == contents(memory)


def test_a_full_disk_leaves_the_snapshot_before(tmp_path, small_pieces):
    memory = replay(capacity=20 * HORIZON)
    saving = Snapshots(tmp_path, memory)
    memory.add(make_chunk(0))
    saving.save(1, no_counts)
    before = contents(memory)
    for i in range(4):
        memory.add(make_chunk(i * HORIZON))
    with room_bytes(600), pytest.raises(NotWrittenError, match=r"can't be written: .*File too large"):
        saving.save(2, no_counts)
    assert contents(restored(tmp_path, capacity=20 * HORIZON)) == before
    saving.save(3, no_counts)
    assert contents(restored(tmp_path, capacity=20 * HORIZON)) == contents(memory)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_shards_are_drawn_from_by_mass_while_one_is_lost_and_when_it_is_back(tmp_path, count):
    """Chi-square over every slot of all shards, whose masses differ by up to four orders of magnitude."""
    rng = np.random.default_rng(count)
    memories = [replay(capacity=12 * HORIZON, seed=s) for s in range(count)]
    for i in range(6 * count):
        chunk = make_chunk(i * HORIZON, streams=1)
        chunk.priorities *= 10.0 ** (i % count)
        memories[i % count].add(chunk)

    def fits():
        exact = np.concatenate([m._tree.get(np.arange(m.capacity)) for m in memories])
        exact, counts = exact / exact.sum(), np.zeros(len(exact))
        for _ in range(200):
            masses = [m.total_mass for m in memories]
            taken = shards.allocate(250, masses, rng)
            assert not any(c for c, m in zip(taken, memories, strict=True) if not m.size), "of nothing nothing is drawn"
            for s, c in enumerate(taken):
                if c:
                    np.add.at(counts, s * memories[s].capacity + memories[s].sample(int(c)).slots, 1)
        rare = exact * counts.sum() < 5
        observed = np.append(counts[~rare], counts[rare].sum())
        expected = np.append(exact[~rare], exact[rare].sum()) * counts.sum()
        kept = expected > 0
        assert not observed[~kept].any() and chisquare(observed[kept], expected[kept]).pvalue > 1e-3

    fits()
    Snapshots(tmp_path, memories[0]).save(1, no_counts)
    lost, memories[0] = memories[0], replay(capacity=12 * HORIZON, seed=99)
    if count > 1:
        fits()
    Snapshots(tmp_path, memories[0]).load()
    assert contents(memories[0]) == contents(lost)
    fits()
