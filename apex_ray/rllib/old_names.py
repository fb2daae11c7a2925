"""Names of keys that RLlib gave up, and what each is called since: the meaning is the same."""

from __future__ import annotations

_REPLAY = "replay_buffer_config"
_LEARNING_STARTS = "num_steps_sampled_before_learning_starts"

OLD_NAMES = {
    "num_workers": "num_env_runners",
    "num_rollout_workers": "num_env_runners",
    "num_envs_per_worker": "num_envs_per_env_runner",
    "num_cpus_per_worker": "num_cpus_per_env_runner",
    "num_gpus_per_worker": "num_gpus_per_env_runner",
    "custom_resources_per_worker": "custom_resources_per_env_runner",
    "validate_workers_after_construction": "validate_env_runners_after_construction",
    "max_requests_in_flight_per_sampler_worker": "max_requests_in_flight_per_env_runner",
    "sample_batch_size": "rollout_fragment_length",
    "synchronize_filter": "update_worker_filter_stats",
    "synchronize_filters": "update_worker_filter_stats",
    "create_env_on_driver": "create_env_on_local_worker",
    "num_cpus_for_driver": "num_cpus_for_main_process",
    "num_cpus_for_local_worker": "num_cpus_for_main_process",
    "num_learner_workers": "num_learners",
    "num_cpus_per_learner_worker": "num_cpus_per_learner",
    "num_gpus_per_learner_worker": "num_gpus_per_learner",
    "evaluation_num_workers": "evaluation_num_env_runners",
    "evaluation_num_episodes": "evaluation_duration",
    "custom_eval_function": "custom_evaluation_function",
    "timesteps_per_iteration": "min_sample_timesteps_per_iteration",
    "min_sample_timesteps_per_reporting": "min_sample_timesteps_per_iteration",
    "min_train_timesteps_per_reporting": "min_train_timesteps_per_iteration",
    "min_iter_time_s": "min_time_s_per_iteration",
    "min_time_s_per_reporting": "min_time_s_per_iteration",
    "metrics_smoothing_episodes": "metrics_num_episodes_for_smoothing",
    "collect_metrics_timeout": "metrics_episode_collection_timeout_s",
    "ignore_worker_failures": "ignore_env_runner_failures",
    "recreate_failed_workers": "restart_failed_env_runners",
    "recreate_failed_env_runners": "restart_failed_env_runners",
    "max_num_worker_restarts": "max_num_env_runner_restarts",
    "delay_between_worker_restarts_s": "delay_between_env_runner_restarts_s",
    "num_consecutive_worker_failures_tolerance": "num_consecutive_env_runner_failures_tolerance",
    "worker_health_probe_timeout_s": "env_runner_health_probe_timeout_s",
    "worker_restore_timeout_s": "env_runner_restore_timeout_s",
    "grad_norm_clipping": "grad_clip",
    "framework": "framework_str",
    "callbacks": "callbacks_class",
    "input": "input_",
    "is_atari": "_is_atari",
    "model_config": "_model_config",
    "model_config_dict": "_model_config",
    "rl_module_spec": "_rl_module_spec",
    "train_batch_size_per_learner": "_train_batch_size_per_learner",
    "env_to_module_connector": "_env_to_module_connector",
    "module_to_env_connector": "_module_to_env_connector",
    "learner_class": "_learner_class",
    "learner_connector": "_learner_connector",
    "_enable_new_api_stack": "enable_rl_module_and_learner",
    "_enable_rl_module_api": "enable_rl_module_and_learner",
    "_enable_learner_api": "enable_rl_module_and_learner",
    "learning_starts": _LEARNING_STARTS,
    "buffer_size": f"{_REPLAY}.capacity",
    **{
        name: f"{_REPLAY}.{name}"
        for name in (
            "prioritized_replay",
            "prioritized_replay_alpha",
            "prioritized_replay_beta",
            "prioritized_replay_eps",
            "worker_side_prioritization",
            "no_local_replay_buffer",
            "replay_buffer_shards_colocated_with_driver",
            "replay_batch_size",
            "replay_mode",
            "replay_sequence_length",
        )
    },
}

# Within a mapping: names of the same thing in other versions or buffers of RLlib.
OLD_PARTS = {
    f"{_REPLAY}.buffer_size": f"{_REPLAY}.capacity",
    f"{_REPLAY}.alpha": f"{_REPLAY}.prioritized_replay_alpha",
    f"{_REPLAY}.beta": f"{_REPLAY}.prioritized_replay_beta",
    f"{_REPLAY}.learning_starts": _LEARNING_STARTS,
    f"{_REPLAY}.min_size_for_sampling": _LEARNING_STARTS,
    "model.custom_options": "model.custom_model_config",
    "evaluation_config.num_envs_per_worker": "evaluation_config.num_envs_per_env_runner",
}

# Mappings whose keys are updated one by one, not replaced.
NESTED = (_REPLAY, "optimizer", "exploration_config", "model", "_model_config", "evaluation_config", "env_config")


def present_name(key: str) -> str:
    """What a key is called now; that of a mapping with its part after a dot."""
    key = OLD_NAMES.get(key, key)
    return OLD_PARTS.get(key, key)
