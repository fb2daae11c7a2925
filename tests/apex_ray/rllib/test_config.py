"""What becomes of RLlib's configurations: each setting by hand, from their meaning in Ray 2.8.1."""

import pickle

import gymnasium
import pytest
from ray import tune
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

from apex_ray.config.schema import ApexConfig, EnvConfig
from apex_ray.rllib import ApexDQN, ApexDQNConfig, from_yaml
from apex_ray.rllib.config import DEFAULTS
from apex_ray.rllib.keys import KEYS
from apex_ray.rllib.old_names import OLD_NAMES
from apex_ray.rllib.settings import SCHEMA, shown
from tests.apex_ray.rllib.examples import ATARI, CARTPOLE, FAKE_GPUS, PONG, RAY_0_8, RAY_1_13
from trainkit.config import flatten
from trainkit.errors import UserError

# What every configuration has that nobody changed, where it is not apex-ray's default: Ape-X of Ray 2.8.1.
RLLIB = {
    "td.reward_clip": None,
    "network.mlp_layers": [256, 256],
    "network.hidden": 256,
    "actors.count": 32,
    "actors.envs_per_actor": 1,
    "actors.weights_every_steps": 400,
    "replay.samples_per_insert": 1.0,
    "replay.shards": 4,
    "learner.optimizer": "adam",
    "learner.learning_rate": 5e-4,
    "learner.epsilon": 1e-8,
    "learner.target_every_updates": 977,  # 500,000 / 512 = 976.6
    "learner.publish_every_updates": 25,  # 400 steps of 32 workers are 12,800; of 512 each
    "evaluation.episodes": 10,
    "evaluation.epsilon": 0.0,
    "evaluation.max_s": 120.0,
    "checkpoint.replay": False,
    "cluster.max_restarts": 1000,
    "env.frame_stack": 1,
}
GAME = {
    "env.sticky_actions": 0.0,
    "env.terminal_on_life_loss": True,
    "env.frame_stack": 4,
    "td.reward_clip": 1.0,
    "actors.envs_per_actor": 8,
    "actors.weights_every_steps": 50,  # 400 steps of a worker with 8 environments
}


def changed(config):
    """Settings that are not apex-ray's defaults, without the seed."""
    found, default = flatten(config.to_settings()), flatten(ApexConfig(env=EnvConfig(id="")))
    return {key: value for key, value in found.items() if value != default[key] and key != "seed"}


def expected(**sections):
    return {**RLLIB, **{key.replace("__", "."): value for key, value in sections.items()}}


def without_defaults(settings):
    default = flatten(ApexConfig(env=EnvConfig(id="")))
    return {key: value for key, value in settings.items() if value != default[key]}


def loaded(text, tmp_path):
    path = tmp_path / "example.yaml"
    path.write_text(text)
    return from_yaml(path)


def cartpole(**given):
    return ApexDQNConfig.from_dict({"env": "CartPole-v1", **given})


def one(setting, **given):
    return flatten(cartpole(**given).to_settings())[setting]


def test_nothing_but_an_environment_is_ray_2_8s_apex():
    assert changed(cartpole()) == {**RLLIB, "env.id": "CartPole-v1"}


def test_learners_are_workers_and_each_brings_its_batch():
    config = cartpole().learners(num_learners=4).training(train_batch_size_per_learner=128)
    assert changed(config)["learner.workers"] == 4
    assert config.to_settings().learner.batch_size == 512
    assert cartpole().learners(num_learners=4).training(train_batch_size=256).to_settings().learner.batch_size == 256


def test_tuned_cartpole(tmp_path):
    config, stop = loaded(CARTPOLE, tmp_path)
    assert stop == {"episode_reward_mean": 150.0, "num_env_steps_sampled_lifetime": 250_000}
    assert changed(config) == {
        **RLLIB,
        "env.id": "CartPole-v1",
        "actors.count": 3,
        "replay.shards": 2,
        "replay.capacity_transitions": 20_000,
        "replay.min_transitions": 1000,
        "replay.samples_per_insert": 4.0,
        "learner.device": "cpu",
        "learner.target_every_updates": 1,  # every 512 trained steps, as 500 have passed then
        "learner.publish_every_updates": 9,  # 400 x 3 x 4 / 512 = 9.4
    }
    assert (config.min_time_s_per_iteration, config.min_sample_timesteps_per_iteration) == (5, 1000)


def test_tuned_pong(tmp_path):
    config, stop = loaded(PONG, tmp_path)
    assert stop == {"episode_reward_mean": 19.0, "num_env_steps_sampled_lifetime": 4_000_000}
    assert changed(config) == without_defaults(
        {
            **RLLIB,
            **GAME,
            "env.id": "ALE/Pong-v5",
            "actors.count": 4,
            "replay.capacity_transitions": 1_000_000,
            "replay.samples_per_insert": 16.0,
            "learner.batch_size": 64,
            "learner.learning_rate": 5e-5,
            "learner.target_every_updates": 313,  # 20,000 / 64 = 312.5
            "learner.publish_every_updates": 50,  # 400 x 4 x 16 / 64 = 400
        }
    )
    assert config.compress_observations is True and config.min_time_s_per_iteration == 30


def test_tuned_atari(tmp_path):
    config, stop = loaded(ATARI, tmp_path)
    assert stop == {
        "time_total_s": 7200,
        "episode_reward_mean": 20.0,
        "num_env_steps_sampled_lifetime": 7_000_000,
    }
    assert changed(config) == without_defaults(
        {
            **RLLIB,
            **GAME,
            "env.id": "ALE/Breakout-v5",
            "td.double_q": False,
            "network.dueling": False,
            "network.hidden": 512,
            "actors.count": 8,
            "actors.chunk_transitions": 20,
            "replay.capacity_transitions": 1_000_000,
            "replay.alpha": 0.5,
            "learner.learning_rate": 1e-4,
            "learner.epsilon": 1.5e-4,
            "learner.target_every_updates": 98,  # 50,000 / 512 = 97.7
            "learner.publish_every_updates": 6,  # 400 x 8 / 512 = 6.25
        }
    )


def test_tuned_cartpole_with_fake_gpus(tmp_path):
    config, _ = loaded(FAKE_GPUS, tmp_path)
    settings = flatten(config.to_settings())
    assert (settings["learner.device"], settings["replay.shards"], settings["actors.count"]) == ("cpu", 1, 3)


@pytest.mark.parametrize("copied", [RAY_0_8, RAY_1_13])
def test_a_whole_configuration_of_old_is_todays_default(copied):
    assert changed(ApexDQNConfig.from_dict({**copied, "env": "CartPole-v1"})) == changed(cartpole())


def test_the_builders_of_old_and_of_today_say_the_same():
    old = (
        ApexDQNConfig()
        .environment("CartPole-v1", clip_rewards=True)
        .framework("torch")
        .rollouts(num_rollout_workers=3, num_envs_per_worker=5, rollout_fragment_length=20, compress_observations=True)
        .exploration(explore=True, exploration_config={"type": "PerWorkerEpsilonGreedy"})
        .training(
            gamma=0.97,
            lr=1e-4,
            train_batch_size=128,
            n_step=5,
            model={"fcnet_hiddens": [64, 32]},
            replay_buffer_config={"capacity": 50_000, "prioritized_replay_beta": 0.5, "learning_starts": 2000},
            optimizer={"num_replay_buffer_shards": 2},
            store_buffer_in_checkpoints=True,
        )
        .resources(num_gpus=0, num_cpus_per_worker=2)
        .evaluation(evaluation_interval=3, evaluation_num_workers=2, evaluation_num_episodes=7)
        .reporting(min_time_s_per_reporting=1, min_sample_timesteps_per_reporting=500)
        .debugging(seed=3, log_level="ERROR")
        .fault_tolerance(recreate_failed_workers=True, max_num_worker_restarts=4)
        .api_stack(enable_rl_module_and_learner=False, enable_env_runner_and_connector_v2=False)
    )
    new = (
        ApexDQNConfig()
        .environment("CartPole-v1", clip_rewards=True)
        .env_runners(
            num_env_runners=3, num_envs_per_env_runner=5, rollout_fragment_length=20, num_cpus_per_env_runner=2
        )
        .training(
            gamma=0.97,
            lr=1e-4,
            train_batch_size_per_learner=128,
            n_step=5,
            replay_buffer_config={"capacity": 50_000, "beta": 0.5},
            num_steps_sampled_before_learning_starts=2000,
            optimizer={"num_replay_buffer_shards": 2},
            store_buffer_in_checkpoints=True,
        )
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[64, 32]))
        .resources(num_gpus=0)
        .learners(num_learners=0)
        .evaluation(evaluation_interval=3, evaluation_num_env_runners=2, evaluation_duration=7)
        .reporting(min_time_s_per_iteration=1, min_sample_timesteps_per_iteration=500)
        .debugging(seed=3)
        .fault_tolerance(restart_failed_env_runners=True, max_num_env_runner_restarts=4)
    )
    assert old.to_settings() == new.to_settings()
    assert changed(old) == without_defaults(
        {
            **RLLIB,
            "env.id": "CartPole-v1",
            "td.reward_clip": 1.0,
            "td.discount": 0.97,
            "td.n_step": 5,
            "network.mlp_layers": [64, 32],
            "actors.count": 3,
            "actors.envs_per_actor": 5,
            "actors.chunk_transitions": 20,
            "actors.weights_every_steps": 80,
            "actors.threads": 2,
            "replay.capacity_transitions": 50_000,
            "replay.min_transitions": 2000,
            "replay.beta": 0.5,
            "replay.shards": 2,
            "learner.batch_size": 128,
            "learner.learning_rate": 1e-4,
            "learner.target_every_updates": 3907,  # 500,000 / 128 = 3,906.25
            "learner.publish_every_updates": 9,  # 400 x 3 / 128 = 9.4
            "learner.device": "cpu",
            "evaluation.episodes": 7,
            "evaluation.envs": 10,
            "checkpoint.replay": True,
            "cluster.max_restarts": 4,
        }
    )
    assert old.to_settings().seed == 3
    for config in (old, new):
        assert (config.evaluation_interval, config.min_time_s_per_iteration) == (3, 1)
        assert (config.min_sample_timesteps_per_iteration, config.timesteps_per_iteration) == (500, 500)
        assert config.num_rollout_workers == config["num_workers"] == config.num_env_runners == 3
        assert config.buffer_size == config.get("buffer_size") == 50_000


@pytest.mark.parametrize(
    ("given", "settings"),
    [
        ({"target_network_update_freq": 512}, {"learner.target_every_updates": 1}),
        ({"target_network_update_freq": 513}, {"learner.target_every_updates": 2}),
        ({"training_intensity": None}, {"replay.samples_per_insert": 1.0}),
        ({"training_intensity": 0.5}, {"replay.samples_per_insert": 0.5}),
        ({"num_workers": 0}, {"actors.count": 1}),
        ({"learning_starts": 100}, {"replay.min_transitions": 512}),  # at least a batch
        ({"buffer_size": 20_000}, {"replay.min_transitions": 10_000}),  # of 50,000: at most half
        ({"buffer_size": 1e6}, {"replay.capacity_transitions": 1_000_000}),
        ({"replay_buffer_config": {"min_size_for_sampling": 1000}}, {"replay.min_transitions": 1000}),
        ({"replay_buffer_config": {"type": "MultiAgentReplayBuffer"}}, {"replay.alpha": 0.0}),
        ({"replay_buffer_config": {"prioritized_replay_eps": 3e-6}}, {"replay.priority_floor": 3e-6}),
        ({"prioritized_replay": False}, {"replay.alpha": 0.0}),
        ({"prioritized_replay_alpha": 0.4}, {"replay.alpha": 0.4}),
        ({"optimizer": {"max_weight_sync_delay": 100}, "num_envs_per_worker": 3}, {"actors.weights_every_steps": 34}),
        ({"clip_rewards": 2.5}, {"td.reward_clip": 2.5}),
        ({"clip_rewards": False}, {"td.reward_clip": None}),
        ({"td_error_loss_fn": "mse"}, {"learner.huber_delta": None}),
        ({"grad_clip": None}, {"learner.max_grad_norm": None}),
        ({"hiddens": [64, 32]}, {"network.hidden": [64, 32]}),
        ({"hiddens": []}, {"network.hidden": []}),
        ({"observation_filter": "MeanStdFilter"}, {"network.normalise": True}),
        ({"remote_worker_envs": True}, {"env.processes": True}),
        ({"gym_env_vectorize_mode": gymnasium.VectorizeMode.ASYNC}, {"env.processes": True}),
        ({"rollout_fragment_length": "auto"}, {"actors.chunk_transitions": 50}),
        ({"horizon": 200}, {"env.kwargs": {"max_episode_steps": 200}}),
        ({"restart_failed_env_runners": False}, {"cluster.max_restarts": 0}),
        ({"num_gpus_per_learner": 1, "num_gpus": 0}, {"learner.device": "auto"}),
        ({"torch_compile_learner": True}, {"learner.compile": True}),
        ({"evaluation_config": {"env_config": {"x": 1}}}, {"evaluation.env_kwargs": {"x": 1}}),
        ({"learner.bf16": "auto", "actors.count": "2-64"}, {"learner.bf16": "auto", "actors.count": "2-64"}),
        (
            {"model": {"conv_filters": [[16, [8, 8], 4], [32, 4, 2]]}},
            {"network.conv_channels": [16, 32], "network.conv_kernels": [8, 4], "network.conv_strides": [4, 2]},
        ),
        (  # trained steps: 51,200 are 100 updates of 512
            {"lr_schedule": [[0, 1e-3], [51_200, 1e-4]]},
            {"learner.learning_rate": 1e-3, "learner.learning_rate_schedule": [[0, 1e-3], [100, 1e-4]]},
        ),
        ({"lr": [[0, 1e-3], [51_200, 0.0]]}, {"learner.learning_rate_schedule": [[0, 1e-3], [100, 0.0]]}),
        (
            {
                "exploration_config": {
                    "type": "EpsilonGreedy",
                    "initial_epsilon": 1.0,
                    "final_epsilon": 0.02,
                    "epsilon_timesteps": 51_200,
                    "warmup_timesteps": 5120,
                }
            },
            {
                "actors.epsilon_base": 0.02,
                "actors.epsilon_alpha": 0.0,
                "actors.epsilon_schedule": [[0, 1.0], [10, 1.0], [110, 0.02]],
            },
        ),
        (
            {"exploration_config": {"type": "EpsilonGreedy", "initial_epsilon": 0.1, "final_epsilon": 0.1}},
            {"actors.epsilon_base": 0.1, "actors.epsilon_alpha": 0.0, "actors.epsilon_schedule": []},
        ),
        (  # the ladder is of remote workers
            {"num_workers": 0, "exploration_config": {"epsilon_timesteps": 51_200, "final_epsilon": 0.01}},
            {"actors.epsilon_base": 0.01, "actors.epsilon_schedule": [[0, 1.0], [100, 0.01]]},
        ),
        ({"exploration_config": {"final_epsilon": 0.01}}, {"actors.epsilon_base": 0.4, "actors.epsilon_schedule": []}),
        ({"epsilon": [[0, 1.0], [5120, 0.05]]}, {"actors.epsilon_schedule": [[0, 1.0], [10, 0.05]]}),
        (  # sampled steps, of which each is trained on four times
            {"epsilon": [[0, 1.0], [5120, 0.05]], "training_intensity": 4},
            {"actors.epsilon_schedule": [[0, 1.0], [40, 0.05]]},
        ),
        (
            {"lr": [[0, 1e-3], [51_200, 0.0]], "training_intensity": 0.5},
            {"learner.learning_rate_schedule": [[0, 1e-3], [50, 0.0]]},
        ),
        (
            {"lr_schedule": [[0, 1e-3], [51_200, 0.0]], "training_intensity": 0.5},
            {"learner.learning_rate_schedule": [[0, 1e-3], [100, 0.0]]},
        ),
        ({"final_prioritized_replay_beta": 0.4}, {"replay.beta_schedule": []}),
        (  # 20,000 sampled steps, each of which is trained on twice
            {"final_prioritized_replay_beta": 1.0, "training_intensity": 2, "train_batch_size": 100},
            {"replay.beta_schedule": [[0, 0.4], [400, 1.0]]},
        ),
        ({"num_atoms": 1, "v_min": -3.0}, {"td.objective": "dqn", "td.objective_kwargs": {}}),
        (
            {"num_atoms": 11, "v_min": -3.0},
            {"td.objective": "categorical", "td.objective_kwargs": {"atoms": 11, "low": -3.0, "high": 10.0}},
        ),
    ],
)
def test_a_key_by_its_old_meaning(given, settings):
    found = flatten(cartpole(**given).to_settings())
    assert {key: found[key] for key in settings} == settings


def test_the_seed_is_given_or_drawn():
    assert cartpole(seed=7).to_settings().seed == 7
    assert cartpole().to_settings().seed != cartpole().to_settings().seed


def test_there_and_back():
    config = cartpole(num_workers=3, lr=1e-4, seed=1, **{"learner.bf16": True}).training(
        replay_buffer_config={"capacity": 70_000}, lr_schedule=[[0, 1e-3], [10_000, 1e-4]]
    )
    again = ApexDQNConfig.from_dict(config.to_dict())
    assert again.to_settings() == config.to_settings() == config.copy().to_settings()
    assert pickle.loads(pickle.dumps(config)).to_settings() == config.to_settings()
    assert again.to_dict() == config.to_dict()
    copied = config.copy().update_from_dict({"replay_buffer_config": {"capacity": 90_000}})
    assert (copied.buffer_size, config.buffer_size) == (90_000, 70_000)
    assert copied.replay_buffer_config["prioritized_replay_alpha"] == 0.6
    assert ApexDQNConfig.from_state(config.get_state()).to_settings() == config.to_settings()
    assert ApexDQNConfig().buffer_size == 2_000_000


def test_a_frozen_configuration_is_read_but_not_changed():
    config = cartpole(seed=1)
    config.freeze()
    assert config.to_settings().actors.count == 32
    with pytest.raises(AttributeError, match="frozen"):
        config.num_rollout_workers = 2
    unfrozen = config.copy(copy_frozen=False)
    unfrozen.num_rollout_workers = 2
    assert unfrozen.to_settings().actors.count == 2


def test_it_is_an_algorithm_config_with_rllibs_helpers():
    config = cartpole()
    assert isinstance(config, AlgorithmConfig) and config.algo_class is ApexDQN
    assert config["lr"] == 5e-4 and config.get("nothing", 3) == 3
    assert ApexDQNConfig.overrides(num_rollout_workers=2) == {"num_env_runners": 2}
    with pytest.raises(UserError, match="Did you mean 'explore'"):
        ApexDQNConfig.overrides(explroe=False)
    config.validate()
    assert config.get_evaluation_config_object().in_evaluation


def test_what_tune_adds_to_a_trials_dict_is_left_alone():
    assert changed(cartpole(__trial_info__=object(), __stdout_file__=None)) == changed(cartpole())


def test_callbacks_stay_for_the_algorithm():
    class Told:
        pass

    def ended(**given):
        pass

    config = cartpole().callbacks(Told, on_episode_end=ended)
    assert (config.callbacks_class, config.callbacks_on_episode_end) == (Told, ended)
    config.to_settings()


def test_mappings_that_are_changed_in_place():
    """As Ray's own documentation did: dict.update() gives None."""
    config = cartpole(seed=1)
    replay = config.replay_buffer_config.update({"capacity": 100_000, "alpha": 0.45, "learning_starts": 1000})
    explore = config.exploration_config.update({"type": "EpsilonGreedy", "final_epsilon": 0.01})
    config.training(replay_buffer_config=replay).exploration(exploration_config=explore)
    settings = config.to_settings()
    assert (settings.replay.capacity_transitions, settings.replay.alpha) == (100_000, 0.45)
    assert (settings.replay.min_transitions, settings.actors.epsilon_base) == (1000, 0.01)
    config.replay_buffer_config = {"capacity": 90_000}
    assert config.to_settings().replay.capacity_transitions == 90_000
    assert "num_workers" in config and "buffer_size" in config and "num_wrokers" not in config


def test_search_spaces_wait_for_tune():
    config = cartpole(lr=tune.loguniform(1e-5, 1e-3), n_step=tune.grid_search([1, 3]))
    assert "grid_search" in config.to_dict()["n_step"]
    with pytest.raises(UserError, match=r"n_step.*search space; give the configuration to tune.Tuner"):
        cartpole(n_step=tune.grid_search([1, 3])).to_settings()
    with pytest.raises(UserError, match=r"lr = .*search space"):
        config.copy().update_from_dict({"n_step": 3}).to_settings()


def test_every_key_of_the_table_is_one_of_rllibs_and_every_setting_ours():
    for key in KEYS:
        assert all(setting in SCHEMA.leaves for setting in key.settings), key
        assert key.differs and shown(key.name)
    assert len({key.name for key in KEYS}) == len(KEYS)
    assert all(new.partition(".")[0] in vars(ApexDQNConfig()) for new in OLD_NAMES.values())


def test_what_ray_gave_up_is_a_key_of_the_table_too():
    """So that a new Ray, which drops or adds names, is looked at."""
    gone = {key.name for key in KEYS if "." not in key.name} - set(vars(AlgorithmConfig())) - set(DEFAULTS)
    assert gone == {
        "final_prioritized_replay_beta", "prioritized_replay_beta_annealing_timesteps", "parameter_noise", "record_env",
        "learner_queue_timeout", "sample_async", "_use_trajectory_view_api", "use_exec_api", "use_execution_plan",
        "per_worker_exploration", "schedule_max_timesteps", "exploration_fraction", "exploration_initial_eps",
        "exploration_final_eps", "memory", "object_store_memory", "memory_per_worker",
        "object_store_memory_per_worker", "eager", "no_eager_on_workers",
    }  # fmt: skip
