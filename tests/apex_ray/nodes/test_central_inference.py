"""What an actor asks of a process that infers for it: by shared memory, or by Ray where it can't reach that."""

import asyncio
from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest

from apex_ray.agent.build import build_agent
from apex_ray.envs.make import probe
from apex_ray.nodes import central_inference, weights_node
from apex_ray.nodes.central_inference import CentralInference
from apex_ray.nodes.inference_node import InferenceNode
from apex_ray.nodes.shared_memory import Place
from apex_ray.nodes.weights_node import RemoteSource
from apex_ray.parts import build_inference
from tests.apex_ray.runs import cartpole, remembers

CONFIG = cartpole(actors={"inference": "node", "inference_device": "cpu"}, **remembers("lstm"))
SPEC = probe(CONFIG.env)


class Called:
    """The node's handle in one process: notes which method was called with what. Answers are copies, as Ray's are."""

    def __init__(self, node):
        self.calls, self.itself = [], node
        self.infer, self.infer_at = (self._method(name, getattr(node, name)) for name in ("infer", "infer_at"))

    def _method(self, name, method):
        def remote(*given):
            self.calls.append((name, *given))
            return deepcopy(asyncio.run(method(*given)))

        return SimpleNamespace(remote=remote)

    @property
    def names(self):
        return [name for name, *_ in self.calls]


@pytest.fixture
def node(monkeypatch):
    """A process of its own in this one, with the weights that a network begins with."""
    made = InferenceNode(CONFIG, SPEC, lambda: None, 1)
    monkeypatch.setattr(made._variables, "step", lambda: None)
    monkeypatch.setattr(central_inference.ray, "get", lambda answer: answer)
    return Called(made)


def asked(seed, envs=3):
    """Observations of some environments, and a state that is not an initial one."""
    rng = np.random.default_rng(seed)
    initial = build_agent(CONFIG, SPEC).initial_state(envs)
    state = {name: rng.normal(size=array.shape).astype(array.dtype) for name, array in initial.items()}
    return {"frames": rng.normal(size=(envs, 1, 4)).astype(np.float32)}, state


def check(answer, observations, state):
    """It is what a network of one's own gives."""
    expected = build_inference(CONFIG, build_agent(CONFIG, SPEC))(observations, state)
    for found, wanted in zip(answer, expected, strict=True):
        assert found.keys() == wanted.keys()
        for name in wanted:
            np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_on_one_machine_a_call_carries_only_where_the_observations_and_the_state_are(node):
    infer, groups = CentralInference(node), [asked(0), asked(1)]
    answers = [infer(*group) for group in groups]
    for answer, group in zip(answers, groups, strict=True):
        assert group[1], "it has a memory"
        check(answer, *group)  # the first, too, though the second one's has come by the same memory since
    assert node.names == ["infer_at"] * 2 and all(type(place) is Place for _, place in node.calls)
    assert node.calls[0] == node.calls[1], "one memory for all groups"


def test_a_call_that_is_made_again_gives_the_same(node):
    infer, group = CentralInference(node), asked(0)
    answer = infer(*group)
    node.infer_at.remote(infer._memory.place)  # as Ray does after a restart; it has written the state after already
    check(infer(*group), *group)
    check(answer, *group)


def test_another_machine_is_sent_everything_and_asked_once_whether_it_is_near(node, monkeypatch):
    monkeypatch.setattr(node.itself, "_attached", lambda place: None)
    infer = CentralInference(node)
    for seed in (0, 1):
        check(infer(*asked(seed)), *asked(seed))
    assert node.names == ["infer_at", "infer", "infer"]


def test_without_shared_memory_everything_goes_through_ray(node, monkeypatch):
    def no_room(shapes):
        raise OSError("no room")

    monkeypatch.setattr(central_inference, "SharedMemory", no_room)
    infer = CentralInference(node)
    check(infer(*asked(0)), *asked(0))
    assert node.names == ["infer"]


def test_a_source_that_is_to_ask_seldom_leaves_out_what_comes_sooner(monkeypatch):
    now, requests = [100.0], []
    monkeypatch.setattr(weights_node.time, "monotonic", lambda: now[0])
    source = RemoteSource(SimpleNamespace(latest=SimpleNamespace(remote=requests.append)), every_s=0.25)
    monkeypatch.setattr(source, "_call", SimpleNamespace(busy=False, start=lambda call: None))
    for now[0] in (100.0, 100.1, 100.2, 100.26, 100.5, 100.52):
        source.request(7)
    assert requests == [7, 7, 7]
