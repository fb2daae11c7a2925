"""Environments as users bring them: each is trained, every sample checked, or refused in one line.

On Ray are those of ON_RAY, one of each kind, and with pytest's --every all of them; the others are trained by the same
parts in one process, since a run's processes take seconds to start.
"""

import gymnasium
import numpy as np
import pytest

from apex_ray import train
from apex_ray.config.schema import ApexConfig
from apex_ray.envs.make import probe
from tests.rays import ray_of
from trainkit.errors import UserError

BROUGHT = "tests.apex_ray.brought"
IDS = [
    "CartPole-v1",
    "Acrobot-v1",
    "MountainCar-v0",
    next(known for known in gymnasium.registry if known.startswith("Taxi-")),  # v3, or v4 from Gymnasium 1.4 on
    "Blackjack-v1",
    "FrozenLake-v1",
    "CliffWalking-v1",
    "LunarLander-v3",
    "MinAtar/Breakout-v1",
    "MinAtar/Seaquest-v1",
]
SPACES = [
    "vector", "doubles", "scalar", "whole", "table", "cube", "number", "numbers", "bits", "ram", "gray", "colours",
    "channels_first", "float_image", "bool_image", "tiny_image", "pair", "nested",
]  # fmt: skip
ACTIONS = [
    "from_minus_one", "joint_actions", "branched_actions", "bit_actions", "dict_actions", "masked_observation",
    "masked_info", "masked_nested", "masked_branches", "masked_joint",
]  # fmt: skip
SETTINGS = {"channels_first": {"channels": "first"}}
VECTORS = [
    {"id": "EnvPool/CartPole-v1"},
    {"id": "EnvPool/Pong-v5", "channels": "first", "kwargs": {"stack_num": 1}},
    {"id": "EnvPool/Catch-v0", "kwargs": {}},
    {"id": "CartPole-v1", "vector": True},
    {"id": "ALE/Pong-v5", "kwargs": {"obs_type": "ram"}},
    {"id": "same_step", "make": f"{BROUGHT}:same_step", "vector": True},
    {"id": "asynchronous", "make": f"{BROUGHT}:asynchronous", "vector": True},
    {"id": "slow", "make": f"{BROUGHT}:sealed", "kwargs": {"of": "Slow"}, "processes": True},
]
ON_RAY = ("MinAtar/Breakout-v1", "branched_actions", "masked_nested", "EnvPool/Pong-v5", "same_step", "slow")
REFUSED = {
    "continuous": "a wrapper has to turn continuous ones into steps",
    "words": "expected a Box of numbers",
    "sequence": "expected a Box of numbers",
    "stacked_outside": "env.channels=first",
}


@pytest.fixture(scope="module")
def cluster():
    """One for all: whoever is in a running Ray trains in it."""
    with ray_of(4):
        yield


def run(tmp_path, env, **more):
    sections = {
        "env": {"frame_stack": 1, **env},
        "td": {"reward_clip": None, "n_step": 1},
        "network": {"mlp_layers": [8], "hidden": 8, "conv_channels": [4, 4, 4], "normalise": True},
        "actors": {"count": 1, "envs_per_actor": 2, "chunk_transitions": 5, "weights_every_steps": 5},
        "replay": {"capacity_transitions": 4_000, "min_transitions": 40, "samples_per_insert": 8.0},
        "learner": {"batch_size": 16, "publish_every_updates": 5, "threads": 1, "device": "cpu"},
        "evaluation": {"every_s": 1000.0, "episodes": 2, "envs": 2, "video": False, "final": False},
        "stop": {"after_updates": 15},
        "report": {"every_s": 0.2},
        "runs_dir": str(tmp_path),
        **more,
    }
    return train(ApexConfig(**sections))


def sealed(name):
    """The settings of a written environment whose every transition is checked."""
    settings = SETTINGS.get(name, {})
    of_env = {"id": name, "make": f"{BROUGHT}:sealed", "kwargs": {"of": name, "settings": settings}, **settings}
    return of_env, {"agent": f"{BROUGHT}:sealed_agent"}


@pytest.fixture
def mode(request):
    """Where the environment that a test is called with is trained."""
    params = request.node.callspec.params
    name = params.get("name") or params["env"]["id"]
    if name not in ON_RAY and not request.config.getoption("--every"):
        return "serial"
    request.getfixturevalue("cluster")
    return "ray"


@pytest.mark.parametrize("name", [*IDS, *SPACES, *ACTIONS])
def test_an_environment_is_trained_and_every_sample_is_as_it_was_seen(tmp_path, name, mode):
    env, agent = sealed(name)
    outcome = run(tmp_path, env, mode=mode, **agent)
    assert outcome.reason == "stop.after_updates = 15"


@pytest.mark.parametrize("env", VECTORS, ids=lambda env: env["id"])
def test_a_vector_of_environments_is_trained(tmp_path, env, mode):
    agent = {"agent": f"{BROUGHT}:sealed_agent"} if env.get("make") else {}
    assert run(tmp_path, env, mode=mode, **agent).reason == "stop.after_updates = 15"


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_learned_is_refused_in_one_line(tmp_path, name):
    with pytest.raises(UserError) as info:
        run(tmp_path, {"id": name, "make": f"{BROUGHT}:{name}"})
    assert REFUSED[name] in str(info.value) and "\n" not in str(info.value)


def test_a_checksum_that_does_not_fit_ends_the_run(tmp_path):
    """The check itself can fail: here the rewards are clipped."""
    env, agent = sealed("vector")
    with pytest.raises(Exception, match="is of several steps"):
        run(tmp_path, env, mode="serial", td={"reward_clip": 1.0, "n_step": 1}, **agent)


@pytest.mark.parametrize(
    ("inference", "agent"),
    [
        ("local", "q_learning"),
        ("central", "q_learning"),
        ("local", "tests.apex_ray.counting_agent:CountingAgent"),
        ("central", "tests.apex_ray.counting_agent:CountingAgent"),
    ],
)
def test_no_illegal_action_is_taken_with_or_without_a_state(tmp_path, inference, agent, request):
    """The environment raises at the first one; actors explore with 0.4 and less, the evaluator with 0.001."""
    env = {"id": "masked", "make": f"{BROUGHT}:masked_info"}
    actors = {"count": 1, "envs_per_actor": 4, "chunk_transitions": 5, "inference": inference, "epsilon_alpha": 0.0}
    evaluation = {"every_s": 1000.0, "episodes": 4, "envs": 2, "video": False, "epsilon": 0.5}
    mode = "ray" if inference == "central" else "serial"
    if mode == "ray":
        request.getfixturevalue("cluster")
    outcome = run(tmp_path, env, actors=actors, evaluation=evaluation, agent=agent, mode=mode)
    assert outcome.last_return == 0.0


def test_masks_of_the_environments_here_are_found():
    names = [name for name in ACTIONS if name.startswith("masked")]
    specs = [probe(ApexConfig(env={"frame_stack": 1, **sealed(name)[0]}).env) for name in names]
    assert all(spec.masked for spec in specs) and len(specs) == 5
    assert np.prod(specs[-1].branches) == 12
