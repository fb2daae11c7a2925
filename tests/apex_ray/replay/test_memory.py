"""Replay under random chunks, samples and updates, and its samples against the frames that went in."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from apex_ray.agent.build import build_agent
from apex_ray.config.schema import ApexConfig, EnvConfig, TdConfig
from apex_ray.learner.mirror import Mirror
from apex_ray.replay import shards
from apex_ray.replay.memory import PrioritizedReplay
from apex_ray.replay.room import bytes_needed
from apex_ray.types import Chunk, EnvSpec, PriorityUpdate

STACK, N, HORIZON = 3, 2, 4
SPEC = EnvSpec.of_frames("fake", (2,), "float32", STACK, 5, 1)


def make_chunk(first, streams=2, rng=None, horizon=HORIZON, spec=SPEC):
    """A chunk whose frames hold (stream, running number); position t of a stream is number first + t."""
    rng = rng or np.random.default_rng(first)
    length = horizon + spec.leaf.stack - 1 + N
    frames = np.zeros((streams, length, *spec.leaf.shape), spec.leaf.dtype)
    numbers = first - (spec.leaf.stack - 1) + np.arange(length)
    for e in range(streams):
        frames[e, :, 0], frames[e, :, 1] = e + 1, numbers
    priorities = rng.random((streams, horizon))
    valid = rng.random((streams, horizon)) >= 0.15  # the others are autoreset steps
    fields = {
        "frames": frames,
        "actions": np.tile(numbers[spec.leaf.stack - 1 : spec.leaf.stack - 1 + horizon] % 5, (streams, 1)).astype(
            np.int64
        ),
        "returns": rng.random((streams, horizon)).astype(np.float32),
        "discounts": rng.random((streams, horizon)).astype(np.float32),
        "steps": np.full((streams, horizon), N, np.uint8),
        "ages": rng.integers(0, spec.leaf.stack, (streams, horizon)).astype(np.uint8),
    }
    return Chunk(fields, valid, priorities)


def fields_of(spec=SPEC, n=N):
    config = ApexConfig(env=EnvConfig(id=spec.env_id), td=TdConfig(n_step=n))
    return build_agent(config, spec).fields


def replay(capacity=40, alpha=0.6, seed=0, **settings):
    return PrioritizedReplay(fields_of(), capacity, HORIZON, alpha, seed, **settings)


def test_the_floor_is_added_to_every_priority():
    memory = replay(alpha=0.5, floor=0.25)
    chunk = make_chunk(0)
    chunk.priorities[:] = 2.0
    memory.add(chunk)
    assert memory.total_mass == pytest.approx(1.5 * np.count_nonzero(chunk.valid))  # (2 + 1/4)^(1/2)


@settings(max_examples=40)
@given(st.data())
def test_random_operations_keep_it_valid(data):
    memory, pending, first = replay(capacity=data.draw(st.integers(4, 60))), [], 0
    for _ in range(data.draw(st.integers(1, 12))):
        action = data.draw(st.sampled_from(["add", "sample", "update"]))
        if action == "add":
            memory.add(make_chunk(first, streams=data.draw(st.integers(1, 3))))
            first += HORIZON
        elif action == "sample" and memory.total_mass > 0:
            pending.append(memory.sample(data.draw(st.integers(1, 9))))
        elif action == "update" and pending:
            sample = pending.pop(0)
            new = np.random.default_rng(first).random(len(sample.slots)) * 10
            memory.update_priorities(PriorityUpdate(sample.slots, sample.overwrites, new))
        memory.check_valid()
        assert memory.size <= memory.capacity


def test_samples_are_the_transitions_that_went_in():
    memory = replay(capacity=1000)
    chunks = [make_chunk(first) for first in range(0, 40, HORIZON)]
    for chunk in chunks:
        memory.add(chunk)
    sample = memory.sample(500)
    for b in range(500):
        frames = sample.fields["frames"]
        stream, number = (int(x) for x in frames[b, STACK - 1])
        chunk, t, e = chunks[number // HORIZON], number % HORIZON, stream - 1
        assert chunk.valid[e, t], "an autoreset step was sampled"
        for name in ("returns", "discounts", "actions", "steps", "ages"):
            assert sample.fields[name][b] == chunk.fields[name][e, t], name
        age = int(chunk.fields["ages"][e, t])
        for k in range(STACK + N):
            back = STACK - 1 - k
            expected = (0, 0) if back > age else (stream, number - back)
            assert tuple(frames[b, k]) == expected, f"frame {k} of a state of age {age}"


def test_the_oldest_go_first_and_size_counts_what_is_there():
    memory = replay(capacity=3 * HORIZON)
    for i in range(5):
        memory.add(make_chunk(i * HORIZON, streams=1))
    numbers = memory.sample(300).fields["frames"][:, STACK - 1, 1]
    assert set(np.unique(numbers)) <= set(range(2 * HORIZON, 5 * HORIZON))
    assert numbers.min() < 3 * HORIZON, "the oldest kept chunk is never sampled"
    assert memory.size == sum(make_chunk(i * HORIZON, 1).num_samples for i in (2, 3, 4))


def test_a_stale_priority_is_dropped_and_counted():
    memory = replay(capacity=2 * HORIZON)
    memory.add(make_chunk(0, streams=1))
    old = memory.sample(20)
    memory.add(make_chunk(4, streams=1))
    memory.add(make_chunk(8, streams=1))  # overwrites what was sampled
    before = memory.total_mass
    memory.update_priorities(PriorityUpdate(old.slots, old.overwrites, np.full(20, 1e6)))
    assert memory.total_mass == before and memory.stale_updates == 20
    new = memory.sample(20)
    memory.update_priorities(PriorityUpdate(new.slots, new.overwrites, np.full(20, 1e6)))
    assert memory.total_mass > before and memory.stale_updates == 20


def split(chunks):
    return [c.priorities for c in chunks], [c.valid for c in chunks]


def test_a_transition_without_error_can_still_be_drawn():
    memory, chunk = replay(), make_chunk(0)
    chunk.priorities[:] = 0.0
    assert memory.add(chunk) == memory.size == np.count_nonzero(chunk.valid) > 0
    assert len(memory.sample(20).slots) == 20


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_probability_is_priority_to_the_alpha(alpha):
    memory = replay(capacity=40, alpha=alpha)
    chunks = [make_chunk(i * HORIZON) for i in range(5)]
    for chunk in chunks:
        memory.add(chunk)
    priorities, valid = (np.concatenate([a[e] for a in arrays for e in range(2)]) for arrays in split(chunks))
    exact = np.where(valid, (priorities + 1e-6) ** alpha, 0.0)
    exact /= exact.sum()
    sample = memory.sample(100_000)
    counts = np.bincount(sample.slots, minlength=len(exact))
    assert not counts[exact == 0].any()
    assert chisquare(counts[exact > 0], 100_000 * exact[exact > 0]).pvalue > 1e-3
    np.testing.assert_allclose(sample.masses / sample.total_mass, exact[sample.slots], rtol=1e-9)


def test_shards_sample_as_one_replay_would():
    """Chi-square over the joint distribution, and weights as one replay would have given them."""
    rng = np.random.default_rng(3)
    memories, chunks = [replay(seed=s) for s in (1, 2)], []
    for i in range(6):
        chunk = make_chunk(i * HORIZON)
        chunk.priorities *= 1 + 5 * (i % 2)  # the second shard has far more mass
        memories[i % 2].add(chunk)
        chunks.append(chunk)
    masses = [m.total_mass for m in memories]
    size, beta, batch = sum(m.size for m in memories), 0.4, 200
    one = replay(capacity=80)
    for i in (0, 2, 4, 1, 3, 5):
        one.add(chunks[i])
    exact = one._tree.get(np.arange(48)) / one.total_mass
    counts = np.zeros(48)
    for _ in range(500):
        shares = np.array(masses) / sum(masses)
        taken = shards.allocate(batch, masses, rng)
        drawn = [(s, shares[s], memories[s].sample(int(c))) for s, c in enumerate(taken) if c]
        merged = shards.merge(drawn)
        slot = merged.slots % shards.SHARD_STRIDE + 24 * (merged.slots // shards.SHARD_STRIDE)
        np.add.at(counts, slot, 1)
        expected = (size * exact[slot]) ** -beta
        np.testing.assert_allclose(merged.weights**beta, expected / expected.max(), rtol=1e-5)
    assert chisquare(counts[exact > 0], counts.sum() * exact[exact > 0]).pvalue > 1e-3
    updates = shards.split(merged.slots, merged.overwrites, np.arange(batch, dtype=float))
    assert sorted(updates) == [0, 1] and sum(len(u.slots) for u in updates.values()) == batch
    for shard, update in updates.items():
        mine = merged.slots // shards.SHARD_STRIDE == shard
        np.testing.assert_array_equal(update.slots, merged.slots[mine] % shards.SHARD_STRIDE)
        np.testing.assert_array_equal(update.priorities, np.flatnonzero(mine))


@pytest.mark.parametrize("chunks", [1, 4, 9])
def test_what_was_read_and_written_goes_on_alike(chunks):
    """Of 12 segments: two, eight, and all of them after six were overwritten."""
    memory, other = replay(capacity=12 * HORIZON), replay(capacity=12 * HORIZON)
    for i in range(chunks):
        memory.add(make_chunk(i * HORIZON))
    other.write(memory.oldest, memory.read(memory.oldest, memory.written - memory.oldest))
    other.load_state(memory.state())
    other.check_valid()
    for _ in range(2):
        a, b = memory.sample(50), other.sample(50)
        for name in a.fields:
            np.testing.assert_array_equal(a.fields[name], b.fields[name])
        np.testing.assert_array_equal(a.masses, b.masses)
        np.testing.assert_array_equal(a.overwrites, b.overwrites)
        memory.add(make_chunk(99))
        other.add(make_chunk(99))


def test_another_replays_state_does_not_fit():
    memory = replay()
    memory.add(make_chunk(0))
    with pytest.raises(ValueError, match=r"it has \[10, 4\] segments and samples, expected \[20, 4\]"):
        replay(capacity=80).load_state(memory.state())
    with pytest.raises(ValueError, match=r"of a segment's returns it has nothing, expected float32 \[4\]"):
        replay().write(0, {n: a for n, a in memory.read(0, 1).items() if n != "returns"})
    with pytest.raises(ValueError, match=r"of a segment's frames it has float64 \[8, 2\], expected float32 \[8, 2\]"):
        replay().write(0, {n: a.astype(np.float64) for n, a in memory.read(0, 1).items()})


def test_bytes_needed_is_what_is_allocated():
    spec = EnvSpec.of_frames("atari", (84, 84), "uint8", 4, 6, 4)
    memory = PrioritizedReplay(fields_of(spec, 3), 5_000, 100, 0.6, 0)
    arrays = *memory._by_segment().values(), memory._overwrites, memory._valid, memory._tree._nodes
    actual = sum(array.nbytes for array in arrays)
    assert bytes_needed(fields_of(spec, 3), 5_000, 100) == actual
    assert actual / 5_000 < 7_600


def test_actions_above_a_signed_16_bit_number_are_kept():
    chunk = make_chunk(2)
    chunk.fields["actions"] += 39_990
    memory = replay()
    memory.add(chunk)
    assert set(memory.sample(50).fields["actions"].tolist()) <= set(range(39_990, 40_000))


@settings(max_examples=40)
@given(st.data())
def test_a_mirror_of_fresh_frames_gives_the_same_samples(data):
    """However inserts and `take_fresh` interleave: once nothing is unsent, the mirror holds what replay holds."""
    memory, first = replay(capacity=data.draw(st.integers(4, 60))), 0
    mirror = Mirror(fields_of(), 1, memory.segments, HORIZON, torch.device("cpu"))
    for _ in range(data.draw(st.integers(1, 12))):
        if data.draw(st.booleans()):
            memory.add(make_chunk(first, streams=data.draw(st.integers(1, 3))))
            first += HORIZON
        else:
            fresh = memory.take_fresh(data.draw(st.integers(1, 5)))
            mirror.write(0, fresh)
        if not memory.unsent and memory.total_mass > 0:
            sample = memory.sample(9, windows=False)
            assert "frames" not in sample.fields
            ages = sample.fields["ages"]
            expected = memory._windows["frames"].gather(sample.slots, ages)
            np.testing.assert_array_equal(mirror.gather(sample.slots, ages)["frames"].numpy(), expected)
