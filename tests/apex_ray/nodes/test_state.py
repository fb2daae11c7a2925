"""A policy's state is right across episode ends: in actors, through central inference and in evaluations."""

import time

import numpy as np
import pytest
import ray

from apex_ray.agent.build import build_agent
from apex_ray.agent.network import Inference, new_network, to_arrays
from apex_ray.agent.policy import AgentPlayer
from apex_ray.envs.make import probe
from apex_ray.envs.rollout import play_episodes
from apex_ray.nodes import replay_node
from apex_ray.nodes.actor_node import ActorNode
from apex_ray.nodes.inference_node import InferenceNode
from apex_ray.nodes.living import GROUP
from apex_ray.nodes.metrics_node import MetricsNode
from apex_ray.nodes.replay_node import ReplayNode
from apex_ray.nodes.weights_node import WeightsNode
from apex_ray.replay.build import build_replay
from apex_ray.replay.snapshots import Snapshots, shard_folder
from apex_ray.run_files import RunPlace
from apex_ray.sizes import resolve_sizes
from tests.apex_ray.runs import cartpole
from tests.fakes import CountingEnvs, Episode, decode
from tests.rays import ray_of

pytestmark = pytest.mark.timeout(300)
AGENT = "tests.apex_ray.counting_agent:CountingAgent"
ENV = {"id": "apex-tests/Counting-v0", "import_modules": ["tests.fakes"], "kwargs": {"length": 7}}
ALIKE = {"capacity_transitions": 40_000, "min_transitions": 20_000, "samples_per_insert": None}


@pytest.fixture(scope="module")
def cluster():
    with ray_of(2):
        yield


@pytest.mark.parametrize("inference", ["local", "central"])
def test_every_stored_step_has_the_count_of_its_episode(cluster, tmp_path, inference):
    actors = {"count": 1, "envs_per_actor": 4, "groups": 2, "inference": inference, "inference_device": "cpu"}
    config = cartpole(agent=AGENT, env=ENV, actors=actors, replay=ALIKE)
    spec = probe(config.env)
    sizes, agent = resolve_sizes(config, spec), build_agent(config, spec)
    shard = ray.remote(num_cpus=0, concurrency_groups=replay_node.concurrency_groups(1))(ReplayNode)
    shard = shard.remote(config, agent.fields, sizes, 0, place=RunPlace(tmp_path))
    weights = ray.remote(num_cpus=0, concurrency_groups=GROUP)(WeightsNode).remote()
    ray.get(weights.publish.remote(0, to_arrays(new_network(agent, 1))))
    metrics = ray.remote(num_cpus=0, concurrency_groups=GROUP)(MetricsNode).remote(np.ones(4), 1)
    central = None
    if inference == "central":
        central = ray.remote(num_cpus=0, max_concurrency=4)(InferenceNode).remote(config, spec, lambda: weights, 1)
    node = ray.remote(num_cpus=0)(ActorNode).remote(config, spec, sizes, 0, 0)
    node.begin.remote([shard], weights, metrics, central)
    node.run.remote()
    while ray.get(shard.stats.remote()).inserted < 400:
        time.sleep(0.02)
    ray.kill(node)
    ray.get(shard.save.remote(0))
    memory = build_replay(config, agent.fields, 1)
    Snapshots(shard_folder(tmp_path, 0), memory).load()
    stored, (segments, times) = memory.read(0, memory.written), np.nonzero(memory.state()["masses"])
    steps = [int(decode(frames).step) for frames in stored["frames"][segments, times]]
    assert len(steps) >= 400 and set(steps) == set(range(7))
    assert stored["counted"][segments, times].tolist() == steps


def test_an_evaluation_begins_every_episode_anew():
    envs = CountingEnvs([[Episode(3), Episode(5, "truncated")], [Episode(4)]])
    config = cartpole(agent=AGENT)
    agent, seen = build_agent(config, envs.spec), []
    network = Inference(agent, seed=1)

    def infer(observations, state):
        seen.append((state["steps"].tolist(), [decode(o[-1]).step for o in observations["frames"]]))
        return network(observations, state)

    play_episodes(envs, AgentPlayer(agent, infer), 8, 0.5, seed=1)
    assert len(seen) > 15 and all(counted == steps for counted, steps in seen)
