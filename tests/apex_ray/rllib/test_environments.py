"""Environments and models by every name that RLlib has for them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ray.rllib.env.env_context import EnvContext
from ray.tune import register_env
from ray.tune import registry as tune_registry

from apex_ray.agent.build import build_agent
from apex_ray.agent.network import new_network
from apex_ray.dotted import imported
from apex_ray.envs.make import make_envs, probe
from apex_ray.rllib import ApexDQNConfig
from apex_ray.rllib.environments import register_again
from tests.apex_ray.rllib import brought
from tests.apex_ray.rllib.brought import Counting, Torso, counting
from trainkit.config import to_yaml
from trainkit.errors import UserError


def settings(env, **given):
    return ApexDQNConfig.from_dict({"env": env, "seed": 1, **given}).to_settings()


@pytest.mark.parametrize(
    ("env", "game", "sticky"),
    [
        ("ALE/Pong-v5", "ALE/Pong-v5", 0.25),
        ("ale_py:ALE/Pong-v5", "ALE/Pong-v5", 0.25),
        ("PongNoFrameskip-v4", "ALE/Pong-v5", 0.0),
        ("PongNoFrameskip-v0", "ALE/Pong-v5", 0.25),
        ("PongDeterministic-v4", "ALE/Pong-v5", 0.0),
        ("MsPacman-v0", "ALE/MsPacman-v5", 0.25),
    ],
)
def test_a_game_of_atari_by_its_names(env, game, sticky):
    found = settings(env).env
    assert (found.id, found.sticky_actions, found.frame_skip, found.frame_stack) == (game, sticky, 4, 4)
    assert found.terminal_on_life_loss and found.noop_max == 30 and found.kwargs == {}


def test_what_a_game_takes_in_env_config():
    given = {"frameskip": 5, "repeat_action_probability": 0.1, "full_action_space": True, "render_mode": "human"}
    found = settings("ALE/Pong-v5", env_config=given, horizon=100, model={"framestack": False, "dim": 42})
    assert (found.env.frame_skip, found.env.sticky_actions, found.env.full_action_space) == (5, 0.1, True)
    assert (found.env.max_episode_frames, found.env.frame_stack, found.env.image_size) == (500, 1, 42)
    assert settings("ALE/Pong-v5", env_config={"frameskip": 1}).env.frame_skip == 4


@pytest.mark.parametrize(
    ("env", "given", "skip", "sticky"),
    [
        ("ALE/Pong-ram-v5", {}, 4, 0.25),
        ("ALE/Pong-v5", {"obs_type": "ram", "frameskip": 1}, 1, 0.25),
        ("PongNoFrameskip-v4", {"obs_type": "ram"}, 1, 0.0),
        ("Pong-ramNoFrameskip-v4", {}, 1, 0.0),
        ("Pong-ramDeterministic-v0", {}, 4, 0.25),
        ("Pong-ram-v4", {"frameskip": 3}, 3, 0.0),
    ],
)
def test_a_games_memory_is_128_bytes_as_they_are(env, given, skip, sticky):
    found = settings(env, env_config=given)
    spec = probe(found.env)
    assert spec.leaf.shape == (128,) and spec.leaf.dtype == "uint8" and found.env.frame_skip == skip
    assert (found.env.sticky_actions, found.td.reward_clip, found.env.terminal_on_life_loss) == (sticky, None, False)


@pytest.mark.parametrize(
    "env",
    [Counting, counting, "tests.apex_ray.rllib.brought.Counting", "registered", lambda context: Counting(context)],
)
def test_an_environment_of_ones_own_is_made_as_rllib_makes_it(env):
    register_env("registered", lambda context: Counting(context))
    found = settings(env, env_config={"length": 3}, horizon=7, evaluation_config={"env_config": {"length": 9}})
    assert found.env.max_episode_frames == 7 and found.env.frame_stack == 1
    envs = make_envs(found.env, 2)
    envs.reset(0)
    for _ in range(3):
        envs.send(np.zeros(2, np.int64))
        step = envs.recv()
    assert step.terminated.all() and step.observations["frames"].shape == (2, 1, 2)
    envs.close()
    assert found.env.kwargs["env_config"] == {"length": 3}
    assert found.evaluation.env_kwargs == {"env_config": {"length": 9}}


def test_what_no_file_can_keep_reaches_the_environment_too():
    table = np.arange(3)
    for env in (Counting, lambda context: Counting(context)):
        found = settings(env, env_config={"length": 2, "table": table}, evaluation_config={"env_config": {"length": 4}})
        made = imported(found.env.make, "env.make")
        training, evaluating = made(**found.env.kwargs), made(**{**found.env.kwargs, **found.evaluation.env_kwargs})
        assert (training.length, evaluating.length) == (2, 4)
        assert np.array_equal(training.context["table"], table) and to_yaml(found)


def of_length(length):
    class Local(Counting):
        def __init__(self, context):
            super().__init__({"length": length})

    return Local


SCRIPT = """{blank}
import numpy as np
from apex_ray.rllib import ApexDQNConfig
from tests.apex_ray.rllib.brought import Counting

class Mine(Counting):
    def step(self, action):
        return super().step(action)

def main():
    lengths = 3
    made = [lambda context: Mine({{"length": lengths}}), Mine, lambda context: Mine({{"length": 4}})]
    for env in made:
        config = ApexDQNConfig().environment(env, env_config={{"table": np.arange(3)}})
        print(config.to_settings().env.kwargs["creator"])

main()
"""


def test_a_name_is_that_of_the_contents_in_every_program(tmp_path):
    """Lambdas and classes of a script, and objects that no file can keep, wherever they stand in it."""
    names = []
    for number, blank in enumerate(("", "\n\nprint(end='')")):
        program = tmp_path / f"program{number}.py"
        program.write_text(SCRIPT.format(blank=blank))
        root = Path(__file__).parents[3]
        given = {**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": str(number)}
        done = subprocess.run([sys.executable, program], env=given, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        names.append(done.stdout.split())
    assert names[0] == names[1] and len(set(names[0])) == 3


def test_classes_with_other_closures_have_other_names():
    one, same, other = (settings(of_length(n)).env.kwargs["creator"] for n in (3, 3, 4))
    assert one == same != other


def test_an_environment_is_known_after_ray_has_ended():
    register_env("kept", lambda context: Counting(context))
    found = settings("kept")
    known = tune_registry._global_registry
    known.unregister("env_creator", "kept")  # as with the Ray that ends
    assert settings("kept").env == found.env and probe(found.env).num_actions == 3
    register_again()
    assert known.contains("env_creator", "kept")


def test_the_environment_is_given_an_env_context():
    from apex_ray.rllib.environments import made

    context = made("tests.apex_ray.rllib.brought:Counting", {"length": 4}).context
    assert isinstance(context, EnvContext) and (context["length"], context.worker_index) == (4, 0)


def test_parts_of_apex_ray_come_last():
    config = ApexDQNConfig().apex({"env.processes": True}, make_env="tests.apex_ray.brought:vector", torso=Torso)
    found = config.to_settings()
    assert (found.env.make, found.env.id, found.env.processes) == ("tests.apex_ray.brought:vector", "vector", True)
    assert found.network.torso == "tests.apex_ray.rllib.brought:Torso"
    with pytest.raises(UserError, match=r"no setting 'env.proceses'.*Did you mean 'env.processes'"):
        config.apex({"env.proceses": True})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"env": None}, "no environment is set"),
        ({"env": 3}, "expected a name, a class or a function"),
        ({"env": brought.Several}, "multi_agent is not here"),
        ({"env": "tests.apex_ray.rllib.brought.Several"}, "multi_agent is not here"),
        ({"env": "tests.apex_ray.rllib.brought.Countign"}, "Did you mean 'Counting'"),
        ({"env": Counting, "evaluation_config": {"env_config": {"f": print}}}, "evaluation_config.env_config"),
        ({"env": "Pong-ram-v4"}, "skips 2 to 4 frames at random; expected env_config with a frameskip"),
        ({"env": "ALE/Pong-v5", "env_config": {"obs_type": "video"}}, "expected 'rgb' or 'grayscale', gray both"),
        ({"env": "ALE/Pong-v5", "env_config": {"frameskip": 0}}, "env_config.frameskip = 0"),
        ({"env": "ALE/Pong-v5", "env_config": {"repeat_action_probability": 2}}, "repeat_action_probability = 2"),
        ({"env": "ALE/Pong-v5", "evaluation_config": {"env_config": {"mode": 1}}}, "evaluated as it is learned"),
    ],
)
def test_environments_that_can_not_be_had(given, said):
    with pytest.raises(UserError) as info:
        ApexDQNConfig.from_dict(given).to_settings()
    assert said in str(info.value)


@pytest.mark.parametrize(
    ("env", "said"),
    [(brought.Worded, "Text"), ("CartPloe-v1", "Did you mean 'CartPole-v1'"), (lambda context: 3, "gave int")],
)
def test_what_shows_when_an_environment_is_made_is_said_before_a_run(env, said):
    with pytest.raises(UserError) as info:
        probe(settings(env).env)
    assert said in str(info.value)


def test_a_model_of_ones_own_is_a_torso():
    config = settings(Counting, model={"custom_model": Torso, "custom_model_config": {"width": 5}})
    network = new_network(build_agent(config, probe(config.env)))
    assert type(network.torso) is Torso and network.torso.num_features == 5
    assert network.head.value[0].in_features == 5
    by_name = settings(Counting, model={"custom_model": "tests.apex_ray.rllib.brought:Torso"})
    assert by_name.network.torso == config.network.torso


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (brought.OldModel, "a model of RLlib's old kind; make it a torso"),
        ("nobody", "no such model is registered"),
        (Counting, "expected a torch.nn.Module class"),
    ],
)
def test_models_that_are_no_torso(model, said):
    with pytest.raises(UserError) as info:
        settings(Counting, model={"custom_model": model})
    assert said in str(info.value)


def test_an_old_model_that_is_registered_is_told_the_same():
    from ray.rllib.models import ModelCatalog

    ModelCatalog.register_custom_model("old", brought.OldModel)
    with pytest.raises(UserError, match="make it a torso"):
        settings(Counting, model={"custom_model": "old"})
