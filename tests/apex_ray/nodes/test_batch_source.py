"""Batches reach the learner whole, whichever way their frames travel."""

import numpy as np
import pytest
import ray
import torch

from apex_ray.learner.frame_mirror import FrameMirror
from apex_ray.nodes import batch_memory, replay_node
from apex_ray.nodes.batch_source import BatchSource
from apex_ray.nodes.replay_node import ReplayNode
from apex_ray.replay.build import build_replay
from apex_ray.replay.saving import load_replay
from apex_ray.sizes import resolve_sizes
from apex_ray.types import SHARD_STRIDE, Chunk, EnvSpec
from tests.apex_ray.runs import cartpole

pytestmark = pytest.mark.timeout(300)
SPEC = EnvSpec("fake", (4, 5), "uint8", 3, 2, 1)
HORIZON, N = 5, 2


class Elsewhere(ReplayNode):
    """A shard on another machine."""

    def attach(self, path, shape, dtype):
        return False


@pytest.fixture(scope="module")
def cluster():
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=2**27)
    yield
    ray.shutdown()


def chunk(rng, streams=4):
    shape = (streams, HORIZON)
    return Chunk(
        frames=rng.integers(0, 255, (streams, HORIZON + SPEC.stack - 1 + N, 4, 5), dtype=np.uint8),
        actions=rng.integers(0, 2, shape),
        returns=rng.random(shape, np.float32),
        discounts=rng.random(shape, np.float32),
        steps=np.full(shape, N, np.uint8),
        ages=rng.integers(0, SPEC.stack, shape).astype(np.uint8),
        priorities=rng.random(shape) + 0.01,
    )


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


def start(config, classes):
    sizes, nodes = resolve_sizes(config, SPEC), []
    groups = replay_node.concurrency_groups(len(classes))
    for i, c in enumerate(classes):
        node = ray.remote(num_cpus=0, concurrency_groups=groups)(c)
        nodes.append(node.remote(config, SPEC, sizes, i, nodes[0] if nodes else None))
    return nodes


def next_batch(source):
    while (batch := source.poll()) is None:
        pass
    return batch


def frames_in(config, nodes, tmp_path, batch):
    """The frames of a batch's transitions, read from what the shards save."""
    frames = np.empty((len(batch.slots), SPEC.stack + N, 4, 5), np.uint8)
    for i, node in enumerate(nodes):
        ray.get(node.save.remote(tmp_path / f"{i}.safetensors"))
        memory = build_replay(config, SPEC, i)
        load_replay(tmp_path / f"{i}.safetensors", memory)
        mine = batch.slots // SHARD_STRIDE == i
        frames[mine] = memory._store.gather(batch.slots[mine] % SHARD_STRIDE, batch.ages[mine])
    return frames


@pytest.mark.parametrize(
    "classes", [[ReplayNode], [ReplayNode, ReplayNode], [Elsewhere, ReplayNode], [Elsewhere, Elsewhere]]
)
def test_frames_through_shared_memory_and_through_answers(cluster, tmp_path, classes):
    config, rng = settings(len(classes)), np.random.default_rng(0)
    nodes = start(config, classes)
    ray.get([node.add.remote(chunk(rng)) for node in nodes for _ in range(8)])
    source = BatchSource(nodes, config, SPEC)
    assert (source._memory is not None) == (ReplayNode in classes)
    if source._memory is not None:
        assert not source._memory.path.exists(), "a killed learner would leave its memory behind"
    before = next_batch(source)
    expected = frames_in(config, nodes, tmp_path, before)
    for _ in range(2 * config.learner.prefetch_batches):
        batch = next_batch(source)
        np.testing.assert_array_equal(before.frames, expected)  # still whole while the next one is there
        expected = frames_in(config, nodes, tmp_path, batch)
        np.testing.assert_array_equal(batch.frames, expected)
        before = batch


@pytest.mark.parametrize("shards", [1, 2])
def test_a_mirror_has_the_frames_of_every_batch(cluster, tmp_path, monkeypatch, shards):
    """Inserts that overwrite all of replay several times go on between batches that were asked for ahead."""
    config, rng = settings(shards, "learner"), np.random.default_rng(0)
    nodes = start(config, [ReplayNode] * shards)
    segments = config.replay.capacity_transitions // shards // HORIZON
    mirror = FrameMirror(SPEC, shards, segments, HORIZON, N, torch.device("cpu"))
    source = BatchSource(nodes, config, SPEC, lambda shard, fresh: mirror.write(shard, fresh.segments, fresh.frames))
    ray.get([node.add.remote(chunk(rng)) for node in nodes for _ in range(8)])
    inserts = []
    for _ in range(20):
        inserts += [node.add.remote(chunk(rng)) for node in nodes]
        next_batch(source)
    ray.get(inserts)
    for _ in range(config.learner.prefetch_batches + 1):  # those asked for before the last insert
        batch = next_batch(source)
    assert not len(batch.frames)
    expected = frames_in(config, nodes, tmp_path, batch)
    np.testing.assert_array_equal(mirror.gather(batch.slots, batch.ages).numpy(), expected)


def test_shared_memory_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setattr(batch_memory, "SHARED_MEMORY", tmp_path / "none")
    with pytest.raises(OSError):
        batch_memory.BatchMemory((2, 3), "uint8")
    assert batch_memory.attach(tmp_path / "none" / "x", (2, 3), np.dtype("uint8")) is None
