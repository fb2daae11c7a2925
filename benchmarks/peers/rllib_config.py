"""RLlib's DQN on Pong with Ape-X's network (3.29 M parameters), as fast as its settings allow or as it comes."""

import ale_py
import gymnasium
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.env.wrappers.atari_wrappers import wrap_atari_for_new_api_stack
from ray.tune.registry import register_env


def make_pong(_):
    gymnasium.register_envs(ale_py)
    game = gymnasium.make("ALE/Pong-v5", frameskip=1, repeat_action_probability=0.0, full_action_space=False)
    return wrap_atari_for_new_api_stack(game, dim=84, framestack=4)


def dqn_config(runners, batch, tuned=True):
    """`tuned`: 8 environments a runner in fragments of 50, one sample learned per step; else RLlib's own defaults."""
    register_env("pong", make_pong)
    config = (
        DQNConfig()
        .environment("pong", clip_rewards=True)
        .env_runners(num_env_runners=runners, num_envs_per_env_runner=8)
        .training(
            train_batch_size_per_learner=batch,
            n_step=3,
            double_q=True,
            dueling=True,
            num_steps_sampled_before_learning_starts=1_000,
            target_network_update_freq=10_000,
            replay_buffer_config={
                "type": "PrioritizedEpisodeReplayBuffer",
                "capacity": 50_000,
                "alpha": 0.6,
                "beta": 0.4,
            },
        )
        .rl_module(
            model_config=DefaultModelConfig(
                conv_filters=[[32, 8, 4, "valid"], [64, 4, 2, "valid"], [64, 3, 1, "valid"]],
                conv_activation="relu",
                head_fcnet_hiddens=[512],
                head_fcnet_activation="relu",
            )
        )
        .reporting(min_time_s_per_iteration=5, min_sample_timesteps_per_iteration=0)
    )
    if tuned:
        config.env_runners(rollout_fragment_length=50).training(training_intensity=1)
    return config
