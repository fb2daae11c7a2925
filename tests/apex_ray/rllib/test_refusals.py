"""Whatever can't be honoured is refused by its name, in one message that says what to do."""

import threading

import numpy as np
import pytest
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from apex_ray.rllib import ApexDQNConfig, from_yaml
from tests.apex_ray.rllib import brought
from tests.apex_ray.rllib.examples import CARTPOLE, PONG
from trainkit.errors import UserError

LOCK = threading.Lock()


def refusal(given):
    config = ApexDQNConfig().environment("CartPole-v1")
    with pytest.raises(UserError) as info:
        config.update_from_dict(given).to_settings()
    return str(info.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"num_rollout_worker": 3}, "no key 'num_rollout_worker'. Did you mean 'num_rollout_workers'"),
        ({"trian_batch_size": 3}, "Did you mean 'train_batch_size'"),
        ({"replay_buffer_config": {"capacty": 3}}, "Did you mean 'replay_buffer_config.capacity'"),
        ({"optimizer": {"num_replay_shards": 3}}, "Did you mean 'optimizer.num_replay_buffer_shards'"),
        ({"exploration_config": {"final_epsilom": 0.1}}, "Did you mean 'final_epsilon'"),
        ({"model": {"fcnet_hidden": [3]}}, "Did you mean 'model.fcnet_hiddens'"),
        ({"model_config": {"fcnet_hidden": [3]}}, "Did you mean 'model_config.fcnet_hiddens'"),
        ({"evaluation_config": {"explroe": False}}, "Did you mean 'evaluation_config.explore'"),
        ({"learner.batch_sise": 3}, "Did you mean 'learner.batch_size'"),
        ({"gamma": 1.5}, "gamma = 1.5: expected a number more than 0 and at most 1"),
        ({"lr": -1}, "lr = -1: expected a number more than 0"),
        ({"lr": [[0, 1.0], [0, 2.0]]}, "expected steps that rise"),
        ({"lr_schedule": 3}, "lr_schedule = 3: expected a schedule, [[step, value], [step, value], ...]"),
        ({"n_step": 0}, "n_step = 0: expected a whole number of at least 1 and at most 50"),
        ({"n_step": (1, 5)}, "n_step = (1, 5): expected a whole number"),
        ({"train_batch_size": 2.5}, "train_batch_size = 2.5: expected a whole number of at least 1"),
        ({"train_batch_size": "64"}, "train_batch_size = '64': expected a whole number"),
        ({"num_envs_per_worker": 0}, "num_envs_per_env_runner = 0: expected a whole number of at least 1"),
        ({"num_workers": -2}, "num_env_runners = -2"),
        ({"buffer_size": 1}, "replay_buffer_config.capacity = 1"),
        ({"buffer_size": 100}, "learner.batch_size 512 is larger than replay.capacity_transitions 100"),
        ({"replay_buffer_config": {"prioritized_replay_beta": 2}}, "prioritized_replay_beta = 2: expected a number"),
        ({"replay_buffer_config": 3}, "replay_buffer_config = 3: expected a mapping"),
        ({"double_q": 1}, "double_q = 1: expected True or False"),
        ({"hiddens": 256}, "hiddens = 256: expected a list of widths such as [256, 256]"),
        ({"td_error_loss_fn": "hubber"}, "expected 'huber' or 'mse'. Did you mean 'huber'"),
        ({"learner.batch_size": "many"}, "learner.batch_size = 'many': expected a whole number"),
        ({"multiagent": {"policies": {"a", "b"}}}, "policies = ['a', 'b']: multi_agent is not here"),
        ({"policies": {"a": None}}, "multi_agent is not here"),
        ({"framework": "tf"}, "framework = 'tf': networks here are PyTorch's; expected framework = 'torch'"),
        ({"framework": "tf2"}, "framework = 'tf2'"),
        (
            {"exploration_config": {"type": "Curiosity"}},
            "exploration_config.type = 'Curiosity': exploration is epsilon",
        ),
        ({"exploration_config": {"type": "ParameterNoise"}}, "'ParameterNoise'"),
        ({"exploration_config": {"type": "SoftQ"}}, "'SoftQ'"),
        (
            {"exploration_config": {"type": "EpsilonGreedy", "initial_epsilon": 0.1, "final_epsilon": 0.2}},
            "initial_epsilon = 0.1: expected at least final_epsilon, 0.2",
        ),
        ({"exploration_config": {"type": "EpsilonGreedy", "final_epsilon": 0}}, "final_epsilon = 0: expected"),
        ({"explore": False}, "explore = False"),
        ({"num_atoms": 0}, "num_atoms = 0: expected a whole number of at least 1"),
        ({"noisy": True, "sigma0": 0.1}, "sigma0 = 0.1: noise begins with"),
        ({"tau": 0.01}, "tau = 0.01"),
        ({"grad_clip_by": "value"}, "grad_clip_by = 'value'"),
        ({"before_learn_on_batch": print}, "before_learn_on_batch"),
        ({"num_gpus": 2}, "a learner uses one GPU"),
        ({"num_learners": -1}, "num_learners = -1: expected a whole number of at least 0"),
        ({"num_learners": 3, "train_batch_size": 512}, "can't be shared out equally by workers 3"),
        ({"num_gpus_per_worker": 0.5}, "num_gpus_per_env_runner = 0.5: actors act on the CPU"),
        ({"custom_resources_per_worker": {"x": 1}}, "cluster.actor_labels"),
        ({"replay_buffer_config": {"type": "ReservoirReplayBuffer"}}, "ReservoirReplayBuffer"),
        ({"replay_buffer_config": {"replay_sequence_length": 20}}, "transitions are sampled, not sequences"),
        ({"replay_buffer_config": {"worker_side_prioritization": False}}, "actors always give the first priorities"),
        ({"replay_buffer_config": {"storage_unit": "episodes"}}, "storage_unit = 'episodes'"),
        ({"model": {"use_lstm": True}}, "model.use_lstm = True: a memory is network.memory and its sequences"),
        ({"model": {"use_attention": True}}, "model.use_attention"),
        ({"model": {"fcnet_activation": "swish"}}, "model.fcnet_activation = 'swish'"),
        ({"model": {"post_fcnet_hiddens": [3]}}, "model.post_fcnet_hiddens = [3]: has no meaning here"),
        ({"model": {"conv_filters": [[16, [8, 4], 4]]}}, "square kernel"),
        ({"rl_module_spec": RLModuleSpec()}, "a network of your own is a torso"),
        ({"evaluation_duration_unit": "timesteps"}, "an evaluation plays whole episodes"),
        ({"evaluation_config": {"explore": True}}, "an evaluation is greedy"),
        ({"input": "dataset"}, "input = 'dataset': offline data is not here"),
        ({"output": "/tmp"}, "output = '/tmp'"),
        ({"num_epochs": 3}, "num_epochs = 3: has no meaning here; expected its default, 1"),
        ({"restart_failed_sub_environments": True}, "env.processes"),
        ({"preprocessor_pref": "rllib"}, "preprocessor_pref = 'rllib'"),
        ({"seed": -1}, "seed = -1"),
        ({"final_prioritized_replay_beta": 1.5}, "final_prioritized_replay_beta = 1.5: expected a number"),
        ({"callbacks": "mine.Callbacks"}, "callbacks_class = 'mine.Callbacks': expected a class of"),
        ({"model": {"conv_filters": [16]}}, "model.conv_filters = [16]: expected [[channels, kernel, stride], ...]"),
        ({"model": {"conv_filters": [[16, 8, 0]]}}, "square kernel"),
        ({"policies": 3}, "policies = 3: expected a mapping of policies"),
        ({"multiagent": "x"}, "multiagent = 'x': expected a mapping"),
        ({"multiagent": {"policis": {}}}, "Did you mean 'policies'"),
        ({"lr": "1e-4"}, "lr = '1e-4': expected a number more than 0"),
        ({"lr": float("nan")}, "lr = nan: expected a number"),
        ({"train_batch_size": float("inf")}, "train_batch_size = inf: expected a whole number"),
        ({"num_workers": "4"}, "num_env_runners = '4': expected a whole number"),
        ({"epsilon": "0.1"}, "epsilon = '0.1': expected a number"),
        ({"exploration_config": {"type": "StochasticSampling"}}, "exploration_config.type = 'StochasticSampling'"),
        ({"exploration_config": {"type": 3}}, "exploration_config.type = '3'"),
        ({"exploration_config": "EpsilonGreedy"}, "exploration_config = 'EpsilonGreedy': expected a mapping"),
        ({"optimizer": "adam"}, "optimizer = 'adam': expected a mapping"),
        ({"td_error_loss_fn": ["huber"]}, "Did you mean 'huber'"),
        ({"evaluation_config": {"env_config": 3}}, "evaluation_config.env_config = 3: expected a mapping"),
        ({"env_config": {"lock": LOCK}, "env": brought.Counting}, "can't be sent to other processes"),
        ({"env": lambda context: LOCK}, "can't be sent to other processes"),
        ({3: 4}, "no key 3"),
        ({"clip_rewards": 1, "explore": 0}, "explore = 0"),
        (
            {"epsilon": [[0, 1.0], [100, 0.1]], "replay.samples_per_insert": None},
            "counts sampled steps, which are no number of updates while replay.samples_per_insert is None",
        ),
        (
            {"callbacks": {"on_episode_end": print}},
            "callbacks_class = {'on_episode_end': <built-in function print>}: expected",
        ),
    ],
)
def test_by_name(given, said):
    message = refusal(given)
    assert said in message, message
    assert "\n" not in message


@pytest.mark.parametrize("taken", [ApexDQNConfig.from_dict, lambda given: ApexDQNConfig().update_from_dict(given)])
def test_a_configuration_that_is_no_mapping(taken):
    for given in (None, 3):
        with pytest.raises(UserError, match="expected a mapping of keys"):
            taken(given)


def test_numbers_of_numpy_are_taken():
    given = {"lr": np.float32(0.5), "train_batch_size": np.int64(64), "hiddens": [np.int64(8)], "double_q": np.True_}
    settings = ApexDQNConfig.from_dict({"env": "CartPole-v1", **given}).to_settings()
    assert (settings.learner.learning_rate, settings.learner.batch_size, settings.network.hidden) == (0.5, 64, 8)


def test_an_attribute_that_is_none_is_found_too():
    config = ApexDQNConfig().environment("CartPole-v1")
    config.target_network_update_frequency = 3
    with pytest.raises(UserError, match="Did you mean 'target_network_update_freq'"):
        config.validate()


@pytest.mark.parametrize("section", ["rollouts", "env_runners", "training", "resources", "evaluation", "learners"])
def test_a_section_refuses_an_unknown_key_when_it_is_given(section):
    with pytest.raises(UserError, match="Did you mean 'num_gpus'"):
        getattr(ApexDQNConfig(), section)(num_gpsu=1)


@pytest.mark.parametrize("build", ["build", "build_algo"])
def test_a_build_begins_with_it(build):
    with pytest.raises(UserError, match="framework = 'tf2'"):
        getattr(ApexDQNConfig().framework("tf2"), build)("CartPole-v1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: {run: DQN, env: CartPole-v1}", "run = 'DQN': expected APEX or APEX_DQN"),
        ("a: {run: APEX, evn: CartPole-v1}", "Did you mean 'env'"),
        ("a: 3", "expected a mapping with run, env, stop and config"),
        ("a: {run: APEX, config: 3}", "expected mappings"),
        (CARTPOLE + PONG, "expected one of cartpole-apex-dqn-training-itr, pong-apex"),
        (CARTPOLE.replace("num_workers", "num_wrokers"), "Did you mean 'num_workers'"),
        ("", "the file is empty"),
    ],
)
def test_files_that_are_none_of_ape_x(text, said, tmp_path):
    path = tmp_path / "example.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as info:
        from_yaml(path)
    assert said in str(info.value)


def test_an_experiment_of_several_is_named(tmp_path):
    path = tmp_path / "examples.yaml"
    path.write_text(CARTPOLE + PONG)
    config, _ = from_yaml(path, "pong-apex")
    assert config.env == "ALE/Pong-v5"
    with pytest.raises(UserError, match="Did you mean 'pong-apex'"):
        from_yaml(path, "pong-apx")


def test_search_spaces_of_a_file_stay(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text("a: {run: APEX, env: {grid_search: [CartPole-v1, Acrobot-v1]}, config: {num_workers: 2}}")
    config, stop = from_yaml(path)
    assert config.env == {"grid_search": ["CartPole-v1", "Acrobot-v1"]} and stop == {}
