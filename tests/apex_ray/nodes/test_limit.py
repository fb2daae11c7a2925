"""One samples-per-insert limit over all shards: whatever the settings, actors and learner go on."""

import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from apex_ray.agent.build import build_agent
from apex_ray.nodes import batch_source, limit
from apex_ray.nodes.batch_source import BatchSource
from apex_ray.nodes.replay_node import ReplayNode, concurrency_groups
from apex_ray.replay.build import build_limiter
from apex_ray.run_files import RunPlace
from apex_ray.sizes import resolve_sizes
from apex_ray.types import Chunk, EnvSpec
from tests.apex_ray.nodes import threads
from tests.apex_ray.runs import cartpole
from trainkit.errors import UserError

SPEC = EnvSpec.of_frames("fake", (2,), "float32", 1, 2, 1)
BATCHES = 60
STALL_S = 20.0


@pytest.fixture(autouse=True)
def no_ray(monkeypatch):
    monkeypatch.setattr(batch_source, "ray", threads.RAY)
    monkeypatch.setattr(limit, "ray", threads.RAY)


class Feeder(threading.Thread):
    """An actor: chunks to the shards in turn, at most two of them not yet stored."""

    def __init__(self, index, shards, config, seed, scale):
        super().__init__(daemon=True)
        self._index, self._shards, self._config, self._scale = index, shards, config, scale
        self._rng, self.over, self.sequence = np.random.default_rng(seed), threading.Event(), 0

    def chunk(self):
        shape = (self._config.actors.envs_per_actor, self._config.actors.chunk_transitions)
        n = self._config.td.n_step
        # Masses of very different sizes, and steps that are no transitions.
        zeros, ones = np.zeros(shape, np.uint8), np.ones(shape, np.float32)
        frames = np.zeros((shape[0], shape[1] + n, 2), np.float32)
        names = ("frames", "actions", "returns", "discounts", "steps", "ages")
        fields = dict(zip(names, (frames, zeros, ones, ones, zeros + n, zeros), strict=True))
        priorities = self._scale * self._rng.random(shape) ** 8
        return Chunk(fields, self._rng.random(shape) > 0.1, priorities, self._index, self.sequence)

    def send(self):
        shard = self._shards[(self._index + self.sequence) % len(self._shards)]
        self.sequence += 1
        return shard.add.remote(self.chunk())

    def run(self):
        window = []
        while not self.over.is_set():
            window.append(self.send())
            if len(window) == self._config.actors.chunks_in_flight:
                window.pop(0).result()


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(
    shards=st.integers(2, 5),
    actors=st.integers(1, 4),
    envs=st.integers(1, 6),
    horizon=st.integers(3, 30),
    batch=st.sampled_from([4, 16, 64]),
    minimum=st.integers(64, 400),
    ratio=st.sampled_from([0.3, 1.0, 4.0, 8.0, 40.0, None]),
    tolerance=st.one_of(st.none(), st.integers(1, 300)),
    mirrored=st.booleans(),
    skew=st.sampled_from([1.0, 1e3, 1e-9]),
)
@pytest.mark.timeout(600)
def test_no_settings_deadlock_inserts_and_samples(
    shards, actors, envs, horizon, batch, minimum, ratio, tolerance, mirrored, skew
):
    capacity = max(2 * minimum, 4 * envs * horizon * actors * shards)
    config = cartpole(
        actors={"count": actors, "envs_per_actor": envs, "chunk_transitions": horizon},
        replay={
            "capacity_transitions": capacity,
            "min_transitions": minimum,
            "samples_per_insert": ratio,
            "insert_tolerance_transitions": tolerance,
            "shards": shards,
            "frames": "learner" if mirrored else "replay",
        },
        learner={"batch_size": batch},
    )
    sizes, fields = resolve_sizes(config, SPEC), build_agent(config, SPEC).fields
    try:
        limiter = build_limiter(config, sizes.chunk_transitions, sizes.learned)
    except UserError:
        assume(False)
    nodes = [threads.Handle(ReplayNode(config, fields, sizes, 0), concurrency_groups(shards))]
    for i in range(1, shards):
        nodes.append(threads.Handle(ReplayNode(config, fields, sizes, i, lambda: nodes[0]), concurrency_groups(shards)))
    feeders = [Feeder(i, nodes, config, i, skew if i else 1.0) for i in range(actors)]
    source = BatchSource(nodes, config, fields, 1, (lambda shard, fresh: None) if mirrored else None)
    for feeder in feeders:
        feeder.start()
    try:
        drawn, at = 0, time.monotonic()
        while drawn < BATCHES:
            if source.poll(0.05) is not None:
                drawn, at = drawn + 1, time.monotonic()
            assert time.monotonic() - at < STALL_S, [n.node.stats() for n in nodes]
        counted = nodes[0].node.stats()
        # What is under way was counted when it was allowed.
        assert BATCHES * batch <= counted.sampled <= (BATCHES + config.learner.prefetch_batches) * batch
        if ratio is not None:
            drift = ratio * (counted.inserted - minimum) - counted.sampled
            assert -limiter._bound - 1 <= drift <= limiter._bound + ratio * sizes.chunk_transitions + 1
    finally:
        close(nodes, feeders)


def close(nodes, feeders=()):
    """Let everything that waits go, and end its threads."""
    for feeder in feeders:
        feeder.over.set()
    own = nodes[0].node._own
    with own._changed:
        own.limiter._ratio, own.limiter._min = None, 0
        own._changed.notify_all()
    for feeder in feeders:
        feeder.join()
    for node in nodes:
        node.close()


def test_calls_of_a_shard_that_was_lost_do_not_hold_up_the_one_in_its_place():
    """Its inserts held all of shard 0's threads, so that nobody could ask for samples, for which the inserts waited."""
    config = cartpole(
        actors={"count": 1, "envs_per_actor": 2, "chunk_transitions": 10},
        replay={"shards": 2, "samples_per_insert": 4.0, "min_transitions": 64},
    )
    sizes, fields, groups = resolve_sizes(config, SPEC), build_agent(config, SPEC).fields, concurrency_groups(2)
    keeper = threads.Handle(ReplayNode(config, fields, sizes, 0), groups)
    while keeper.admit.remote(20, 0.0).result():
        pass
    inserted = keeper.node.stats().inserted
    lost = [keeper.admit.remote(20, limit.ASK_S) for _ in range(3 * groups["limit"])]
    again = ReplayNode(config, fields, sizes, 1, lambda: keeper)
    while not again._limit.may_sample(config.learner.batch_size):
        assert not all(call.done() for call in lost), "there was time to answer"
    assert keeper.node.stats().sampled == config.learner.batch_size
    assert keeper.node.stats().inserted <= inserted + 20, "what was not let in does not count"
    close([keeper])


@pytest.mark.parametrize(("before", "now"), [(8.0, 0.5), (0.5, 8.0)])
def test_nothing_stands_still_after_a_resume_with_another_ratio(tmp_path, before, now):
    """The saved drift is far out of the new bounds: one side would wait until the other had made up for all of it."""
    for ratio in (before, now):
        config = cartpole(
            actors={"count": 1, "envs_per_actor": 2, "chunk_transitions": 10},
            replay={"samples_per_insert": ratio, "min_transitions": 64, "insert_tolerance_transitions": 64},
        )
        fields, sizes = build_agent(config, SPEC).fields, resolve_sizes(config, SPEC)
        node = ReplayNode(config, fields, sizes, 0, place=RunPlace(tmp_path))
        if ratio == before:
            node._own.start_from(1_000_000, int(ratio * (1_000_000 - 64)))
            node.save(0)
    node.load()
    own = node._own
    inserts = samples = 0
    for _ in range(100):
        if own.limiter.may_insert():
            own.insert(20)
            inserts += 1
        total = own.limiter.sampled + config.learner.batch_size
        samples += own.permit(total, wait_s=0.0) >= total
    assert inserts >= 10 and samples >= 10


def test_a_shard_without_mass_is_known_again_with_the_next_batch():
    """Its transitions would be drawn far too late, if only shards that give samples told what they hold."""
    config = cartpole(
        actors={"count": 1, "envs_per_actor": 2, "chunk_transitions": 10},
        replay={"shards": 2, "samples_per_insert": None, "min_transitions": 16},
        learner={"batch_size": 4},
    )
    sizes, fields = resolve_sizes(config, SPEC), build_agent(config, SPEC).fields
    nodes = [threads.Handle(ReplayNode(config, fields, sizes, 0), concurrency_groups(2))]
    nodes.append(threads.Handle(ReplayNode(config, fields, sizes, 1, lambda: nodes[0]), concurrency_groups(2)))
    feeder = Feeder(0, nodes, config, 0, 1.0)
    faint = Feeder(0, nodes, config, 0, 1e-30)
    nodes[0].add.remote(feeder.chunk()).result()
    nodes[1].add.remote(faint.chunk()).result()
    source = BatchSource(nodes, config, fields, 1)
    for _ in range(50):
        source.poll()
    nodes[1].add.remote(Feeder(9, nodes, config, 0, 1e6).chunk()).result()
    for _ in range(2 * config.learner.prefetch_batches):
        source.poll()
    assert source._masses[1] > source._masses[0]
    close(nodes)
