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
