"""Configurations as people wrote them for RLlib: Ray 2.8.1's tuned examples of Ape-X, keys and values as there."""

CARTPOLE = """
cartpole-apex-dqn-training-itr:
    env: CartPole-v1
    run: APEX
    stop:
        sampler_results/episode_reward_mean: 150.0
        timesteps_total: 250000
    config:
        framework: torch
        num_workers: 3
        optimizer:
          num_replay_buffer_shards: 2
        replay_buffer_config:
          type: MultiAgentPrioritizedReplayBuffer
          capacity: 20000
        num_steps_sampled_before_learning_starts: 1000
        num_gpus: 0
        min_time_s_per_iteration: 5
        target_network_update_freq: 500
        min_sample_timesteps_per_iteration: 1000
        training_intensity: 4
"""

PONG = """
pong-apex:
    env: ALE/Pong-v5
    run: APEX
    stop:
        sampler_results/episode_reward_mean: 19.0
        timesteps_total: 4000000
    config:
        framework: torch
        env_config:
            frameskip: 1
            full_action_space: false
            repeat_action_probability: 0.0
        target_network_update_freq: 20000
        num_workers: 4
        num_envs_per_worker: 8
        lr: .00005
        train_batch_size: 64
        replay_buffer_config:
          type: MultiAgentPrioritizedReplayBuffer
          capacity: 1000000
        compress_observations: True
        gamma: 0.99
        training_intensity: 16
"""

ATARI = """
apex-breakoutnoframeskip-v5:
    env: ALE/Breakout-v5
    run: APEX
    stop:
        time_total_s: 7200
        sampler_results/episode_reward_mean: 20.0
        timesteps_total: 7000000
    config:
        env_config:
            frameskip: 1
            full_action_space: false
            repeat_action_probability: 0.0
        double_q: false
        dueling: false
        num_atoms: 1
        noisy: false
        n_step: 3
        lr: .0001
        adam_epsilon: .00015
        hiddens: [512]
        replay_buffer_config:
          capacity: 1000000
          prioritized_replay_alpha: 0.5
        exploration_config:
            epsilon_timesteps: 200000
            final_epsilon: 0.01
        num_gpus: 1
        num_workers: 8
        num_envs_per_worker: 8
        rollout_fragment_length: 20
        train_batch_size: 512
        target_network_update_freq: 50000
        min_sample_timesteps_per_iteration: 25000
"""

FAKE_GPUS = """
cartpole-apex-dqn:
    env: CartPole-v1
    run: APEX
    stop:
        sampler_results/episode_reward_mean: 150.0
        timesteps_total: 250000
    config:
        framework: torch
        num_workers: 3
        optimizer:
            num_replay_buffer_shards: 1
        num_gpus: 2
        _fake_gpus: true
"""

# Defaults of Ape-X and of every trainer, as programs copied them (`APEX_DEFAULT_CONFIG.copy()`): Ray 0.8 ...
RAY_0_8 = {
    "num_workers": 32,
    "num_envs_per_worker": 1,
    "rollout_fragment_length": 50,
    "sample_batch_size": 50,
    "batch_mode": "truncate_episodes",
    "num_gpus": 1,
    "train_batch_size": 512,
    "model": {
        "conv_filters": None,
        "conv_activation": "relu",
        "fcnet_activation": "tanh",
        "fcnet_hiddens": [256, 256],
        "free_log_std": False,
        "no_final_linear": False,
        "vf_share_layers": True,
        "use_lstm": False,
        "max_seq_len": 20,
        "lstm_cell_size": 256,
        "lstm_use_prev_action_reward": False,
        "state_shape": None,
        "framestack": True,
        "dim": 84,
        "grayscale": False,
        "zero_mean": True,
        "custom_model": None,
        "custom_action_dist": None,
        "custom_options": {},
        "custom_preprocessor": None,
    },
    "optimizer": {"max_weight_sync_delay": 400, "num_replay_buffer_shards": 4, "debug": False},
    "gamma": 0.99,
    "horizon": None,
    "soft_horizon": False,
    "no_done_at_end": False,
    "env_config": {},
    "normalize_actions": False,
    "clip_rewards": None,
    "clip_actions": True,
    "preprocessor_pref": "deepmind",
    "lr": 0.0005,
    "monitor": False,
    "log_level": "WARN",
    "log_sys_usage": True,
    "ignore_worker_failures": False,
    "eager": False,
    "eager_tracing": False,
    "no_eager_on_workers": False,
    "explore": True,
    "exploration_config": {"type": "PerWorkerEpsilonGreedy"},
    "evaluation_interval": None,
    "evaluation_num_episodes": 10,
    "in_evaluation": False,
    "evaluation_config": {"explore": False},
    "evaluation_num_workers": 0,
    "custom_eval_function": None,
    "sample_async": False,
    "observation_filter": "NoFilter",
    "synchronize_filters": True,
    "tf_session_args": {"intra_op_parallelism_threads": 2},
    "compress_observations": False,
    "collect_metrics_timeout": 180,
    "metrics_smoothing_episodes": 100,
    "remote_worker_envs": False,
    "remote_env_batch_wait_ms": 0,
    "min_iter_time_s": 30,
    "timesteps_per_iteration": 25_000,
    "seed": None,
    "num_cpus_per_worker": 1,
    "num_gpus_per_worker": 0,
    "custom_resources_per_worker": {},
    "num_cpus_for_driver": 1,
    "memory": 0,
    "object_store_memory": 0,
    "memory_per_worker": 0,
    "object_store_memory_per_worker": 0,
    "input": "sampler",
    "input_evaluation": ["is", "wis"],
    "postprocess_inputs": False,
    "shuffle_buffer_size": 0,
    "output": None,
    "output_compress_columns": ["obs", "new_obs"],
    "output_max_file_size": 64 * 1024 * 1024,
    "multiagent": {"policies": {}, "policy_mapping_fn": None, "policies_to_train": None},
    "num_atoms": 1,
    "v_min": -10.0,
    "v_max": 10.0,
    "noisy": False,
    "sigma0": 0.5,
    "dueling": True,
    "hiddens": [256],
    "double_q": True,
    "n_step": 3,
    "parameter_noise": False,
    "per_worker_exploration": True,
    "schedule_max_timesteps": 100_000,
    "exploration_fraction": 0.1,
    "exploration_initial_eps": 1.0,
    "exploration_final_eps": 0.02,
    "target_network_update_freq": 500_000,
    "buffer_size": 2_000_000,
    "prioritized_replay": True,
    "prioritized_replay_alpha": 0.6,
    "prioritized_replay_beta": 0.4,
    "prioritized_replay_beta_annealing_timesteps": 20_000,
    "final_prioritized_replay_beta": 0.4,
    "prioritized_replay_eps": 1e-6,
    "lr_schedule": None,
    "adam_epsilon": 1e-8,
    "grad_norm_clipping": 40,
    "learning_starts": 50_000,
    "worker_side_prioritization": True,
    "use_exec_api": False,
}

# ... and Ray 1.13.
RAY_1_13 = {
    "num_workers": 32,
    "num_envs_per_worker": 1,
    "create_env_on_driver": False,
    "rollout_fragment_length": 50,
    "batch_mode": "truncate_episodes",
    "gamma": 0.99,
    "lr": 0.0005,
    "train_batch_size": 512,
    "model": {
        "_use_default_native_models": -1,
        "fcnet_hiddens": [256, 256],
        "fcnet_activation": "tanh",
        "conv_filters": None,
        "conv_activation": "relu",
        "post_fcnet_hiddens": [],
        "post_fcnet_activation": "relu",
        "free_log_std": False,
        "no_final_linear": False,
        "vf_share_layers": True,
        "use_lstm": False,
        "use_attention": False,
        "framestack": True,
        "dim": 84,
        "grayscale": False,
        "zero_mean": True,
        "custom_model": None,
        "custom_model_config": {},
        "custom_action_dist": None,
        "custom_preprocessor": None,
        "lstm_use_prev_action_reward": -1,
    },
    "optimizer": {"max_weight_sync_delay": 400, "num_replay_buffer_shards": 4, "debug": False},
    "max_requests_in_flight_per_sampler_worker": 2,
    "max_requests_in_flight_per_replay_worker": float("inf"),
    "timeout_s_sampler_manager": 0.0,
    "timeout_s_replay_manager": 0.0,
    "horizon": None,
    "soft_horizon": False,
    "no_done_at_end": False,
    "observation_space": None,
    "action_space": None,
    "env_config": {},
    "remote_worker_envs": False,
    "env_task_fn": None,
    "render_env": False,
    "record_env": False,
    "normalize_actions": True,
    "clip_actions": False,
    "disable_env_checking": False,
    "num_gpus": 1,
    "_fake_gpus": False,
    "placement_strategy": "PACK",
    "framework": "torch",
    "eager_tracing": True,
    "explore": True,
    "exploration_config": {"type": "PerWorkerEpsilonGreedy"},
    "evaluation_interval": None,
    "evaluation_duration": 10,
    "evaluation_duration_unit": "episodes",
    "evaluation_parallel_to_training": False,
    "evaluation_config": {"explore": False},
    "evaluation_num_workers": 0,
    "always_attach_evaluation_results": False,
    "keep_per_episode_custom_metrics": False,
    "sample_async": False,
    "observation_filter": "NoFilter",
    "synchronize_filters": True,
    "compress_observations": False,
    "metrics_episode_collection_timeout_s": 180,
    "metrics_num_episodes_for_smoothing": 100,
    "min_time_s_per_reporting": 30,
    "min_train_timesteps_per_reporting": None,
    "min_sample_timesteps_per_reporting": 25_000,
    "export_native_model_files": False,
    "seed": None,
    "recreate_failed_workers": True,
    "multiagent": {
        "policies": {},
        "policy_map_capacity": 100,
        "policy_map_cache": None,
        "policy_mapping_fn": None,
        "policies_to_train": None,
        "observation_fn": None,
        "count_steps_by": "env_steps",
    },
    "logger_config": None,
    "_tf_policy_handles_more_than_one_loss": False,
    "_disable_preprocessor_api": False,
    "_disable_action_flattening": False,
    "_disable_execution_plan_api": True,
    "simple_optimizer": False,
    "n_step": 3,
    "target_network_update_freq": 500_000,
    "training_intensity": 1,
    "learning_starts": 50_000,
    "replay_buffer_config": {
        "no_local_replay_buffer": True,
        "type": "MultiAgentPrioritizedReplayBuffer",
        "capacity": 2_000_000,
        "replay_batch_size": 32,
        "prioritized_replay_alpha": 0.6,
        "prioritized_replay_beta": 0.4,
        "prioritized_replay_eps": 1e-6,
        "learning_starts": 50_000,
        "replay_buffer_shards_colocated_with_driver": True,
        "worker_side_prioritization": True,
        "prioritized_replay": -1,
    },
}
