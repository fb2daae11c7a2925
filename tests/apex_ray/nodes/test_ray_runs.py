"""Real Ray: the same transitions as the serial run, and whole short runs."""

import os
import time

import gymnasium
import numpy as np
import pytest
import ray
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

from apex_ray.agent.build import build_agent
from apex_ray.agent.network import new_network, to_arrays
from apex_ray.envs.make import probe
from apex_ray.evaluation import evaluate_run
from apex_ray.learner.checkpoint import load_checkpoint
from apex_ray.nodes import replay_node
from apex_ray.nodes.actor_node import ActorNode
from apex_ray.nodes.batch_source import BatchSource
from apex_ray.nodes.evaluator_node import EvaluatorNode
from apex_ray.nodes.living import GROUP
from apex_ray.nodes.metrics_node import MetricsNode
from apex_ray.nodes.replay_node import ReplayNode
from apex_ray.nodes.weights_node import WeightsNode
from apex_ray.replay.build import build_replay
from apex_ray.replay.snapshots import Snapshots, shard_folder
from apex_ray.report.reading import read_csv
from apex_ray.run.training import train
from apex_ray.run_files import RunPlace
from apex_ray.serial.program import SerialProgram
from apex_ray.sizes import resolve_sizes
from apex_ray.types import Counters
from tests.apex_ray.runs import assert_same_batch, cartpole, new_run, remembers, rows_of, saved
from tests.rays import ray_of

# Each starts a Ray of its own: seconds on an idle machine, a minute or two on a busy one.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def cluster():
    with ray_of(4):
        yield


def segments_of(memory):
    """What replay stored, a key per segment in order; nothing was overwritten, so all of it can be compared."""
    assert memory.oldest == 0
    arrays = *memory.read(0, memory.written).values(), memory.state()["masses"]
    return [tuple(array[i].tobytes() for array in arrays) for i in range(memory.written)]


def serial_replay(config, segments, tmp_path):
    spec = probe(config.env)
    program = SerialProgram(config, spec, resolve_sizes(config, spec), tmp_path)
    order = []
    insert = program.insert

    def note(chunk):
        order.extend((chunk.actor, e, chunk.sequence) for e in range(len(chunk.valid)))
        insert(chunk)

    program.insert = note
    program.start(resume=False)
    while len(order) < segments:
        program.work()
    return program, order


def test_ray_and_serial_feed_the_learner_the_same(cluster, tmp_path):
    """Two actors on Ray store exactly the streams of the serial run, in order, and so do two groups of environments in
    one process; one actor gives identical batches.
    """
    for processes, groups in ((2, 1), (1, 2), (1, 1)):
        actors = processes * groups
        config = cartpole(
            actors={"count": processes, "groups": groups, "envs_per_actor": 3 * groups},
            replay={"capacity_transitions": 400_000, "min_transitions": 200_000, "samples_per_insert": None},
            seed=11,
        )
        spec = probe(config.env)
        sizes = resolve_sizes(config, spec)
        remote = ray.remote(num_cpus=0, concurrency_groups=replay_node.concurrency_groups(2))(ReplayNode)
        agent = build_agent(config, spec)
        folder = tmp_path / f"{processes}-{groups}"
        shard = remote.remote(config, agent.fields, sizes, 0, place=RunPlace(folder))
        weights = ray.remote(num_cpus=0, concurrency_groups=GROUP)(WeightsNode).remote()
        network = new_network(agent, config.seed)
        ray.get(weights.publish.remote(0, to_arrays(network)))
        metrics = ray.remote(num_cpus=0, concurrency_groups=GROUP)(MetricsNode).remote(np.ones(6), 1)
        nodes = [ray.remote(num_cpus=0)(ActorNode).remote(config, spec, sizes, i, 0) for i in range(processes)]
        for node in nodes:
            node.begin.remote([shard], weights, metrics)
            node.run.remote()
        while ray.get(shard.stats.remote()).inserted < 600:
            time.sleep(0.02)
        for node in nodes:
            ray.kill(node)
        ray.get(shard.save.remote(0))
        stored = build_replay(config, agent.fields, 1)
        Snapshots(shard_folder(folder, 0), stored).load()
        written = stored.written
        plain = config.model_copy(update={"actors": cartpole(actors={"count": actors}).actors})
        program, order = serial_replay(plain, written * actors, tmp_path)
        names = dict(zip(segments_of(program._memory), order, strict=True))
        found = [names[s] for s in segments_of(stored)]  # KeyError: a segment the serial run never made
        for actor in range(actors):
            for e in range(3):
                sequence = [s for a, i, s in found if (a, i) == (actor, e)]
                assert sequence == list(range(len(sequence))), "a stream's chunks were lost, doubled or reordered"
        if actors == 1:
            program, _ = serial_replay(config, written, tmp_path)
            program._limiter.inserted = ray.get(shard.stats.remote()).inserted
            config = config.model_copy(update={"replay": config.replay.model_copy(update={"min_transitions": 200})})
            fresh = remote.remote(config, agent.fields, sizes, 0, place=RunPlace(folder))
            ray.get(fresh.load.remote())
            source = BatchSource([fresh], config, agent.fields, 1)
            for _ in range(3):
                batch = None
                while batch is None:
                    batch = source.poll()
                expected = program.sample()
                assert_same_batch(batch, expected)


@pytest.fixture
def registered_here():
    """An environment that only this process knows, whose first reset in a process takes a second."""

    class Own(CartPoleEnv):
        slept_in = 0

        def reset(self, *, seed=None, options=None):
            if Own.slept_in != os.getpid():
                Own.slept_in = os.getpid()
                time.sleep(1.0)
            return super().reset(seed=seed, options=options)

    gymnasium.register("own/Cart-v0", entry_point=Own, max_episode_steps=500)
    yield "own/Cart-v0"
    gymnasium.registry.pop("own/Cart-v0")


def test_an_evaluation_that_nobody_waits_for_ends_and_the_next_one_does_not(cluster, tmp_path):
    env = {"id": "apex-tests/Counting-v0", "import_modules": ["tests.fakes"], "kwargs": {"length": 10**9}}
    config = cartpole(env=env, evaluation={"max_s": None, "video": False})
    spec = probe(config.env)
    weights = ray.remote(num_cpus=0, concurrency_groups=GROUP)(WeightsNode).remote()
    ray.get(weights.publish.remote(0, to_arrays(new_network(build_agent(config, spec), config.seed))))
    metrics = ray.remote(num_cpus=0, concurrency_groups=GROUP)(MetricsNode).remote(np.ones(1), 1)
    remote = ray.remote(num_cpus=0, concurrency_groups=GROUP)(EvaluatorNode)
    evaluator = remote.remote(config, spec, RunPlace(new_run(tmp_path, config)))
    first, second = (evaluator.evaluate.remote(weights, metrics, Counters(), number) for number in (1, 2))
    ray.get(evaluator.abandon.remote(1))
    assert ray.get(first) is None
    assert ray.wait([second], timeout=3.0)[1] == [second]
    ray.get(evaluator.abandon.remote(2))
    assert ray.get(second) is None


def test_a_whole_run_and_its_folder(tmp_path, registered_here, capsys):
    config = cartpole(
        env={"id": registered_here, "step_limit_s": 0.1},
        actors={"count": os.cpu_count()},  # with the learner more than there are cores: each CPU of that Ray is needed
        replay={"shards": 2},
        learner={"publish_every_updates": 97},
        stop={"after_updates": 300},
        evaluation={"every_s": 2.0, "video": True},
        checkpoint={"every_s": 2.0},
        report={"line_every_s": 0.01},
    )
    run = new_run(tmp_path, config)
    outcome = train(config, run, resume=False)
    said = capsys.readouterr().out
    assert "environment 0 of own/Cart-v0 has been in reset() for" in said, "an actor's slow reset reaches the user"
    assert " of 2 episodes, " in said, "and so does how far an evaluation is"
    assert not outcome.interrupted and outcome.run == run and "after_updates" in outcome.reason
    rows = rows_of(run)
    last = rows[-1]
    assert (
        last["updates"] >= 300
        and last["frames"] > 0
        and last["actors_alive"] == os.cpu_count()
        and last["restarts"] == 0
    )
    assert all(r["policy_age_updates"] >= 0 for r in rows if "policy_age_updates" in r)
    assert last["replay_ratio"] == pytest.approx(4.0, rel=0.35)
    assert (run / "learning_curve.png").stat().st_size > 5_000
    assert (run / "videos" / "best.mp4").stat().st_size > 1_000
    assert list((run / "tensorboard").glob("events*"))
    saved = load_checkpoint(run)
    assert saved.counters.updates >= 300 and saved.counters.generation == 1
    *_, final = read_csv(run / "evaluations.csv")
    assert int(final["version"]) == saved.counters.updates, "the final evaluation is of the weights in the checkpoint"
    result = evaluate_run(run, config, "best", 3, None)
    assert len(result.returns) == 3
    # going on: counters continue
    limit = saved.counters.updates + 300  # on a busy machine the first run ends some hundred after its own
    further = config.model_copy(update={"stop": config.stop.model_copy(update={"after_updates": limit})})
    train(further, run, resume=True)
    again = rows_of(run)
    assert len(again) > len(rows)
    assert all(r["updates"] >= saved.counters.updates for r in again[len(rows) :])
    times = [r["time_s"] for r in again]
    assert times == sorted(times) and load_checkpoint(run).counters.generation == 2


# Every pair of values of every two settings is in one of these.
@pytest.mark.parametrize(
    ("shards", "ratio", "frames", "groups", "inference", "memory"),
    [
        (1, 8.0, "replay", 1, "central", "lstm"),
        (1, None, "learner", 3, "local", "none"),
        (3, 8.0, "learner", 3, "central", "none"),
        (3, None, "replay", 1, "local", "none"),
        (3, 8.0, "learner", 1, "local", "lstm"),
        (1, None, "replay", 3, "central", "wavenet"),
    ],
)
def test_settings_together(tmp_path, shards, ratio, frames, groups, inference, memory):
    """All actors run, replay holds what they send, and the ratio is kept, over all shards."""
    config = cartpole(
        stop={"after_updates": 400},
        actors={"count": 2, "groups": groups, "inference": inference, "inference_device": "cpu"},
        replay={"shards": shards, "samples_per_insert": ratio, "frames": frames, "insert_tolerance_transitions": 40},
        evaluation={"final": False},
        cluster={"stall_s": 60.0},
        **remembers(memory),
    )
    run = new_run(tmp_path, config)
    train(config, run)
    last = rows_of(run)[-1]
    assert last["updates"] >= 400 and last["actors_alive"] == 2 and last["restarts"] == 0
    assert last["weights_version"] > 0, "actors, or who acts for them, have newer weights than the first"
    if ratio is not None:
        assert last["replay_ratio"] == pytest.approx(ratio, rel=0.5)


def test_a_run_begins_with_another_s_weights(tmp_path):
    """Steps so small that the weights stay as they were."""
    source, learner = saved(tmp_path / "source", cartpole(seed=1))
    config = cartpole(
        seed=2,
        learner={"init_from": str(source), "learning_rate": 1e-12},
        stop={"after_updates": 5},
        evaluation={"final": False},
    )
    outcome = train(config, new_run(tmp_path, config))
    mine, theirs = load_checkpoint(outcome.run).online, learner.state()[0]
    assert mine.keys() == theirs.keys()
    for name in mine:
        np.testing.assert_allclose(mine[name], theirs[name], atol=1e-6, err_msg=name)
