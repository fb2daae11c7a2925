"""RLlib's DQN on MinAtar with the network of apex-ray's preset: python minatar_rllib.py GAME SEED SECONDS

Double, dueling, 3-step, prioritised, as RLlib's own DQN is at its best; one runner beside the learner.
"""

import sys

import ray
import torch
from minatar_common import Clock, evaluated, make
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.tune.registry import register_env

GAME, SEED, SECONDS = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])

register_env("minatar", lambda _: make(GAME))
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
config = (
    DQNConfig()
    .environment("minatar")
    .env_runners(num_env_runners=1, num_envs_per_env_runner=16, rollout_fragment_length=8)
    .training(
        train_batch_size_per_learner=64,
        training_intensity=8,
        lr=2.5e-4,
        adam_epsilon=1e-5,
        n_step=3,
        double_q=True,
        dueling=True,
        num_steps_sampled_before_learning_starts=5_000,
        target_network_update_freq=8_000,
        epsilon=[(0, 1.0), (100_000, 0.01)],
        replay_buffer_config={
            "type": "PrioritizedEpisodeReplayBuffer", "capacity": 100_000, "alpha": 0.6, "beta": 0.4,
        },
    )
    .rl_module(
        model_config=DefaultModelConfig(
            conv_filters=[[16, 3, 1]], conv_activation="relu", head_fcnet_hiddens=[128], head_fcnet_activation="relu"
        )
    )
    .debugging(seed=SEED)
    .reporting(min_time_s_per_iteration=5)
)  # fmt: skip
algorithm = config.build_algo()


def act(observation):
    with torch.no_grad():
        given = {Columns.OBS: torch.from_numpy(observation)[None]}
        return algorithm.get_module().forward_inference(given)[Columns.ACTIONS][0]


clock = Clock(SECONDS)
while not clock.over:
    result = algorithm.train()
    learner = result.get("learners", {}).get("default_policy", {})
    clock.tell(
        int(result["env_runners"].get("num_env_steps_sampled_lifetime", 0)),
        int(learner.get("num_module_steps_trained_lifetime", 0)) // 64,
        lambda: evaluated(GAME, SEED, act),
    )
algorithm.stop()
ray.shutdown()
