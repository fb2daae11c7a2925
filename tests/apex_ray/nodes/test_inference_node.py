"""Central inference gives every caller its own Q-values, in fewer passes than there were requests."""

import asyncio
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import ray

from apex_ray.agent.build import build_agent
from apex_ray.agent.network import to_arrays
from apex_ray.envs.make import probe
from apex_ray.nodes import inference_node
from apex_ray.nodes.inference_node import InferenceNode
from apex_ray.nodes.living import GROUP
from apex_ray.nodes.weights_node import WeightsNode
from apex_ray.parts import build_inference
from benchmarks.machine import ROOT
from tests.apex_ray.runs import cartpole
from tests.rays import ray_of

pytestmark = pytest.mark.timeout(300)
CENTRAL = {"inference": "central", "inference_device": "cpu"}


@pytest.fixture
def node(monkeypatch):
    config = cartpole(actors=CENTRAL)
    node = InferenceNode(config, probe(config.env), lambda: None, 1)
    monkeypatch.setattr(node._variables, "step", lambda: None)
    return node


def test_requests_that_come_together_are_one_batch(node):
    config = cartpole(actors=CENTRAL)
    local, passes = build_inference(config, build_agent(config, probe(config.env))), []
    network = node._network

    def slow(observations, state):
        passes.append(len(observations["frames"]))
        time.sleep(0.05)
        return network(observations, state)

    node._network = slow
    rng = np.random.default_rng(0)
    asked = [{"frames": rng.normal(size=(e, 1, 4)).astype(np.float32)} for e in (3, 1, 2, 5, 3)]

    async def ask():
        return await asyncio.gather(*(node.infer(observations, {}) for observations in asked))

    for observations, (outputs, state, version) in zip(asked, asyncio.run(ask()), strict=True):
        expected, _ = local(observations, {})
        np.testing.assert_allclose(outputs["q_values"], expected["q_values"], rtol=1e-5, atol=1e-6)
        assert state == {} and version == -1
    assert sum(passes) == 14 and len(passes) == 1, "all five were waiting when the network was free"


def test_metrics_hear_of_it_while_it_works_or_rests_and_not_while_a_pass_does_not_end(monkeypatch):
    config, told, over = cartpole(actors=CENTRAL), [], threading.Event()
    metrics = SimpleNamespace(works=SimpleNamespace(remote=told.append))
    node = InferenceNode(config, probe(config.env), lambda: None, 1, "inference 0", lambda: metrics)
    monkeypatch.setattr(node._variables, "step", lambda: None)
    monkeypatch.setattr(inference_node, "REPORT_EVERY_S", 0.01)
    given = {"frames": np.zeros((1, 1, 4), np.float32)}

    async def hear(more):
        """So many times more."""
        enough = len(told) + more
        while len(told) < enough:
            await asyncio.sleep(0.01)

    async def ask():
        await node.infer(given, {})
        await hear(3)
        network = node._network
        node._network = lambda observations, state: over.wait() and network(observations, state)
        asked = asyncio.create_task(node.infer(given, {}))
        await asyncio.sleep(0.1)
        while_stuck = len(told)
        await asyncio.sleep(0.2)
        assert len(told) == while_stuck and not asked.done()
        over.set()
        await asked
        await hear(3)

    asyncio.run(ask())
    assert set(told) == {"inference 0"}


def test_a_mistake_reaches_those_who_asked_and_nobody_else(node):
    good, bad = ({"frames": np.zeros((2, 1, size), np.float32)} for size in (4, 7))

    async def ask():
        with pytest.raises(RuntimeError):
            await node.infer(bad, {})
        return await node.infer(good, {})

    outputs, _, _ = asyncio.run(ask())
    assert outputs["q_values"].shape == (2, 2)


@pytest.mark.parametrize("inference", ["central", "node"])
def test_it_computes_in_bfloat16_where_it_is_asked_to(inference):
    config = cartpole(actors={**CENTRAL, "inference": inference, "bf16": True})
    node = InferenceNode(config, probe(config.env), lambda: None, 1)
    kinds = {str(parameter.dtype) for parameter in node._network.network.parameters()}
    assert kinds == {"torch.bfloat16", "torch.float32"}, "the last layers stay in float32"
    plain = build_inference(cartpole(actors=CENTRAL), build_agent(config, probe(config.env)))
    given = {"frames": np.ones((2, 1, 4), np.float32)}
    found, expected = (asked(given, {})[0]["q_values"] for asked in (node._network, plain))
    assert found.dtype == np.float32 and not np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_the_answers_change_with_the_weights():
    config = cartpole(actors=CENTRAL)
    spec = probe(config.env)
    with ray_of(2):
        weights = ray.remote(num_cpus=0, concurrency_groups=GROUP)(WeightsNode).remote()
        node = ray.remote(num_cpus=0)(InferenceNode).remote(config, spec, lambda: weights, 1)
        observations, agent = {"frames": np.ones((2, 1, 4), np.float32)}, build_agent(config, spec)
        start = to_arrays(build_inference(config, agent).network)
        ray.get(weights.publish.remote(3, {k: v - 0.5 for k, v in start.items()}))
        before, _, version = ray.get(node.infer.remote(observations, {}))
        assert version == 3, "a node that is started anew must not act with the weights that a network begins with"
        params = {k: np.array(v) + 0.5 for k, v in to_arrays(build_inference(config, agent).network).items()}
        ray.get(weights.publish.remote(7, params))
        local = build_inference(config, agent)
        local.load(params)
        while version < 7:
            after, _, version = ray.get(node.infer.remote(observations, {}))
        expected, _ = local(observations, {})
        np.testing.assert_allclose(after["q_values"], expected["q_values"], rtol=1e-5, atol=1e-6)
        assert not np.allclose(before["q_values"], after["q_values"])


@pytest.mark.parametrize("preset", ["cartpole", "pong", "pong_lstm"])
def test_an_actor_that_asks_for_its_actions_needs_no_torch(preset):
    """It would be most of its memory where its process is not a fork of one that has it."""
    code = f"""
import sys
import apex_ray.nodes.actor_node
from apex_ray.agent.build import build_agent
from apex_ray.config.load import load
from apex_ray.envs.make import probe
from apex_ray.nodes.central_inference import CentralInference
from apex_ray.parts import build_actors
config = load({preset!r}, ["actors.inference=central", "actors.envs_per_actor=2", "actors.groups=1"]).config
spec, remote = probe(config.env), CentralInference(None)
build_actors(config, spec, build_agent(config, spec), 0, 1, (remote, remote))
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr
