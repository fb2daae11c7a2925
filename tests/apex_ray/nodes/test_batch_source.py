"""Batches reach the learner whole, whichever way their frames travel."""

from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import ray
import torch

from apex_ray.agent.build import build_agent
from apex_ray.learner.mirror import Mirror
from apex_ray.learner.team import Share
from apex_ray.nodes import replay_node, shared_memory
from apex_ray.nodes.batch_source import BatchSource
from apex_ray.nodes.living import RESTARTED_IN_PLACE
from apex_ray.nodes.replay_node import ReplayNode
from apex_ray.replay.build import build_replay
from apex_ray.replay.snapshots import Snapshots, shard_folder
from apex_ray.run_files import RunPlace
from apex_ray.sizes import resolve_sizes
from apex_ray.types import SHARD_STRIDE, Chunk, EnvSpec, PriorityUpdate
from tests.apex_ray.runs import cartpole
from tests.rays import ray_of

pytestmark = pytest.mark.timeout(300)
SPEC = EnvSpec.of_frames("fake", (4, 5), "uint8", 3, 2, 1)
HORIZON, N = 5, 2
NUMBERS = count()  # of chunks


class Elsewhere(ReplayNode):
    """A shard on another machine."""

    def attach(self, place, worker=0):
        return False


@pytest.fixture(scope="module")
def cluster():
    with ray_of(2):
        yield


def chunk(rng, streams=4):
    shape = (streams, HORIZON)
    fields = {
        "frames": rng.integers(0, 255, (streams, HORIZON + SPEC.leaf.stack - 1 + N, 4, 5), dtype=np.uint8),
        "actions": rng.integers(0, 2, shape),
        "returns": rng.random(shape, np.float32),
        "discounts": rng.random(shape, np.float32),
        "steps": np.full(shape, N, np.uint8),
        "ages": rng.integers(0, SPEC.leaf.stack, shape).astype(np.uint8),
    }
    return Chunk(fields, np.ones(shape, bool), rng.random(shape), sequence=next(NUMBERS))


def fields_of(config):
    return build_agent(config, SPEC).fields


def settings(shards, frames="replay"):
    return cartpole(
        actors={"chunk_transitions": HORIZON},
        replay={
            "capacity_transitions": 400,
            "min_transitions": 64,
            "samples_per_insert": None,
            "shards": shards,
            "frames": frames,
        },
        td={"n_step": N},
    )


def start(config, classes, tmp_path):
    sizes, fields, nodes = resolve_sizes(config, SPEC), fields_of(config), []
    groups = replay_node.concurrency_groups(len(classes))
    for i, c in enumerate(classes):
        node = ray.remote(num_cpus=0, concurrency_groups=groups)(c)
        counts = (lambda first=nodes[0]: first) if nodes else None
        nodes.append(node.remote(config, fields, sizes, i, counts, RunPlace(tmp_path)))
    return nodes


def next_batch(source):
    while (batch := source.poll()) is None:
        pass
    return batch


def frames_in(config, nodes, tmp_path, batch):
    """The frames of a batch's transitions, read from what the shards save."""
    frames = np.empty((len(batch.slots), SPEC.leaf.stack + N, 4, 5), np.uint8)
    for i, node in enumerate(nodes):
        ray.get(node.save.remote(0))
        memory = build_replay(config, fields_of(config), 1, i)
        Snapshots(shard_folder(tmp_path, i), memory).load()
        mine = batch.slots // SHARD_STRIDE == i
        slots, ages = batch.slots[mine] % SHARD_STRIDE, batch.fields["ages"][mine]
        frames[mine] = memory._windows["frames"].gather(slots, ages)
    return frames


@pytest.mark.parametrize(
    "classes", [[ReplayNode], [ReplayNode, ReplayNode], [Elsewhere, ReplayNode], [Elsewhere, Elsewhere]]
)
def test_frames_through_shared_memory_and_through_answers(cluster, tmp_path, classes):
    config, rng = settings(len(classes)), np.random.default_rng(0)
    nodes = start(config, classes, tmp_path)
    ray.get([node.add.remote(chunk(rng)) for node in nodes for _ in range(8)])
    source = BatchSource(nodes, config, fields_of(config), 1)
    assert (source._memory is not None) == (ReplayNode in classes)
    if source._memory is not None:
        assert not list(Path("/dev/shm").glob("apex-ray-*")), "a killed learner would leave its memory behind"
    before = next_batch(source)
    expected = frames_in(config, nodes, tmp_path, before)
    for _ in range(2 * config.learner.prefetch_batches):
        batch = next_batch(source)
        np.testing.assert_array_equal(before.fields["frames"], expected)  # still whole while the next one is there
        expected = frames_in(config, nodes, tmp_path, batch)
        np.testing.assert_array_equal(batch.fields["frames"], expected)
        before = batch


def test_workers_draw_their_own_parts_of_batches_that_count_once(cluster, tmp_path):
    config, rng, count = settings(2), np.random.default_rng(0), 5
    nodes = start(config, [ReplayNode, ReplayNode], tmp_path)
    ray.get([node.add.remote(chunk(rng)) for node in nodes for _ in range(8)])
    sources = [BatchSource(nodes, config, fields_of(config), 1, share=Share(i, 2), total=0) for i in range(2)]
    for _ in range(count):
        batches = [next_batch(source) for source in sources]
        assert [len(batch.slots) for batch in batches] == 2 * [config.learner.batch_size // 2]
        assert batches[0].slots.tolist() != batches[1].slots.tolist()
        for batch in batches:
            expected = frames_in(config, nodes, tmp_path, batch)
            np.testing.assert_array_equal(batch.fields["frames"], expected, err_msg="each has memory of its own")
    (before,) = {source.total for source in sources}
    assert before % config.learner.batch_size == 0 and before >= count * config.learner.batch_size
    asked = before + config.learner.batch_size * config.learner.prefetch_batches
    assert max(stats.sampled for stats in ray.get([node.stats.remote() for node in nodes])) <= asked


@pytest.mark.parametrize("shards", [1, 2])
def test_a_mirror_has_the_frames_of_every_batch(cluster, tmp_path, monkeypatch, shards):
    """Inserts that overwrite all of replay several times go on between batches that were asked for ahead."""
    config, rng = settings(shards, "learner"), np.random.default_rng(0)
    nodes = start(config, [ReplayNode] * shards, tmp_path)
    segments = config.replay.capacity_transitions // shards // HORIZON
    mirror = Mirror(fields_of(config), shards, segments, HORIZON, torch.device("cpu"))
    source = BatchSource(nodes, config, fields_of(config), 1, mirror.write)
    ray.get([node.add.remote(chunk(rng)) for node in nodes for _ in range(8)])
    inserts = []
    for _ in range(20):
        inserts += [node.add.remote(chunk(rng)) for node in nodes]
        next_batch(source)
    ray.get(inserts)
    for _ in range(config.learner.prefetch_batches + 1):  # those asked for before the last insert
        batch = next_batch(source)
    assert "frames" not in batch.fields
    expected = frames_in(config, nodes, tmp_path, batch)
    np.testing.assert_array_equal(mirror.gather(batch.slots, batch.fields["ages"])["frames"].numpy(), expected)


def test_frames_that_were_lost_on_their_way_are_sent_again(cluster, tmp_path):
    """Ray repeats a call whose answer was lost; the frames that were in it are gone."""
    config, rng = settings(2, "learner"), np.random.default_rng(0)
    nodes = start(config, [ReplayNode] * 2, tmp_path)
    mirror = Mirror(fields_of(config), 2, 200 // HORIZON, HORIZON, torch.device("cpu"))
    source = BatchSource(nodes, config, fields_of(config), 1, mirror.write)
    ray.get([node.add.remote(chunk(rng)) for node in nodes for _ in range(4)])
    next_batch(source)
    for _ in range(config.learner.prefetch_batches):
        next_batch(source)
    # Batches are asked for ahead: those calls are answered before these, or they would take what is added next.
    ray.get([node.sample_mirrored.remote(0, 0) for node in nodes])
    ray.get([node.add.remote(chunk(rng)) for node in nodes for _ in range(2)])
    lost = ray.get(nodes[1].sample_mirrored.remote(0, 0)).fresh
    assert len(lost.segments) and lost.first > 0
    ray.get([node.add.remote(chunk(rng)) for node in nodes])
    drawn, batches = set(), 0
    while batches < config.learner.prefetch_batches + 3 or not set(lost.segments.tolist()) & drawn:
        batch, batches = next_batch(source), batches + 1
        expected = frames_in(config, nodes, tmp_path, batch)
        np.testing.assert_array_equal(mirror.gather(batch.slots, batch.fields["ages"])["frames"].numpy(), expected)
        drawn |= set((batch.slots[batch.slots >= SHARD_STRIDE] % SHARD_STRIDE // HORIZON).tolist())
        assert batches < 100, "what was lost is never drawn"


def test_a_chunk_that_comes_twice_is_stored_once(cluster, tmp_path):
    node = start(settings(1), [ReplayNode], tmp_path)[0]
    first, second = chunk(np.random.default_rng(0)), chunk(np.random.default_rng(1))
    given = [first, second, first, replace(first, actor=1), second]
    assert ray.get([node.add.remote(c) for c in given]) == [20, 20, 0, 20, 0]
    stats = ray.get(node.stats.remote())
    assert stats.transitions == stats.inserted == 60


def test_shared_memory_that_is_not_there(monkeypatch):
    shapes = {"frames": ("uint8", (2, 4, 3)), "numbers": ("float32", (5,))}
    memory = shared_memory.SharedMemory(shapes)
    memory.arrays["frames"][1, 2], memory.arrays["numbers"][:] = 7, 0.5
    for name, array in memory.place.attach().items():
        assert array.any() and (array == memory.arrays[name]).all(), "the same memory"
    other = replace(memory.place, name="apex-ray-of-another-machine")
    gone = replace(memory.place, path=Path("/proc/self/fd/9999"))
    assert other.attach() is None and gone.attach() is None
    monkeypatch.setattr(shared_memory.sys, "platform", "darwin")
    with pytest.raises(OSError):
        shared_memory.SharedMemory(shapes)


def test_a_shard_that_was_restarted_gives_whole_batches_and_maps_the_memory_again(cluster, tmp_path):
    config, rng = settings(2), np.random.default_rng(0)
    groups = replay_node.concurrency_groups(2)
    kind = ray.remote(num_cpus=0, concurrency_groups=groups, **RESTARTED_IN_PLACE)(ReplayNode)
    sizes, fields = resolve_sizes(config, SPEC), fields_of(config)
    nodes = [kind.remote(config, fields, sizes, 0, None, RunPlace(tmp_path))]
    nodes.append(kind.remote(config, fields, sizes, 1, lambda first=nodes[0]: first, RunPlace(tmp_path)))
    source = BatchSource(nodes, config, fields, 1)
    assert source._here == [True, True]
    ray.get([node.add.remote(chunk(rng)) for node in nodes for _ in range(8)])
    before = next_batch(source)
    ray.kill(nodes[1], no_restart=False)
    ray.get([nodes[1].add.remote(chunk(rng)) for _ in range(8)])
    for _ in range(config.learner.prefetch_batches):  # the lost one may have answered
        next_batch(source)
    for _ in range(8):
        batch = next_batch(source)
        expected = frames_in(config, nodes, tmp_path, batch)
        np.testing.assert_array_equal(batch.fields["frames"], expected)
    assert source._here == [True, True]
    theirs = before.slots // SHARD_STRIDE == 1
    stale = PriorityUpdate(before.slots[theirs] % SHARD_STRIDE, before.overwrites[theirs], np.full(theirs.sum(), 9.0))
    ray.get(nodes[1].update_priorities.remote(stale))
    assert ray.get(nodes[1].stats.remote()).stale_updates >= theirs.sum(), "they were of the lost shard's samples"
