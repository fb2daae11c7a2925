"""Every key of RLlib's configuration that means something here: what it becomes, and how its meaning differs.

docs/migration.md shows this table (tests/apex_ray/rllib/test_migration.py); `conversions.py` has the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from apex_ray.rllib import conversions as to
from apex_ray.rllib.values import (
    Check,
    anything,
    either,
    flag,
    layers,
    mapping,
    number,
    one_of,
    only,
    or_none,
    points,
    whole,
)


class Key(NamedTuple):
    """`name`: RLlib's, that of a mapping's part after a dot; `settings`: ours that it decides, none for one that is
    read by ApexDQN, has no effect or is refused; `convert` gives the setting, or a mapping where there are several.
    """

    name: str
    settings: tuple[str, ...]
    check: Check
    differs: str
    convert: Callable[[Any, to.Given], Any] = to.as_it_is


def _is(name: str, setting: str, check: Check, differs: str = "the same", convert: Any = to.as_it_is) -> Key:
    return Key(name, tuple(setting.split()), check, differs, convert)


def _read(name: str, check: Check, differs: str) -> Key:
    return Key(name, (), check, differs)


def _nothing(names: str, why: str) -> list[Key]:
    return [Key(name, (), anything, f"no effect: {why}") for name in names.split()]


def _refused(name: str, allowed: Any, instead: str) -> Key:
    return Key(name, (), only(allowed, instead), f"only {allowed!r}: {instead}")


MEMORY = "a memory is network.memory and its sequences.*, given to apex() (docs/memory.md)"
POSITIVE = number(above=0)
SHARE = number(least=0, most=1)
RATES = points(number(least=0))
EXPLORING = "actors.epsilon_base actors.epsilon_alpha actors.epsilon_schedule"

ENVIRONMENT = [
    _is(
        "env",
        "env.id env.make",
        anything,
        "a name of Gymnasium, of `tune.register_env`, a class or a path to one; games of Atari get DQN's "
        "preprocessing, also by the old names (`PongNoFrameskip-v4`); `worker_index` is 0 for all",
        to.nothing_more,
    ),
    _is(
        "env_config",
        "env.kwargs",
        mapping,
        "of Atari: `frameskip` 1 is 4 frames a step with the last two max-pooled, as there; "
        "`repeat_action_probability` is `env.sticky_actions`, 0.25 where ALE's own default was",
        to.nothing_more,
    ),
    _is(
        "clip_rewards",
        "td.reward_clip",
        or_none(either(POSITIVE, True, False)),
        "True is [-1, 1], where RLlib takes the sign; None clips Atari's only, as there",
        to.reward_clip,
    ),
    _is(
        "horizon",
        "env.max_episode_frames",
        or_none(whole(1)),
        "steps after which an episode is cut: a truncation, so its last state keeps its value",
        to.nothing_more,
    ),
    _is("preprocessor_pref", "", one_of("deepmind"), "Atari's preprocessing is DQN's; others are a Gymnasium wrapper"),
    _is("action_mask_key", "", only("action_mask", "masks are found under this key"), "`env.action_mask`"),
    *_nothing("observation_space action_space", "the environment has them"),
    *_nothing("disable_env_checking", "environments are always looked at before a run starts"),
    *_nothing("normalize_actions clip_actions", "actions are discrete"),
    *_nothing("_is_atari auto_wrap_old_gym_envs env_task_fn", "the environment itself tells"),
    *_nothing("render_env monitor record_env", "`evaluation.video`"),
]

ENV_RUNNERS = [
    _is(
        "num_env_runners",
        "actors.count",
        whole(0),
        "0, sampling in the main process, is 1 actor; on one machine more actors than cores share them, several "
        "machines without room are refused, not waited for",
        to.at_least_one,
    ),
    _is("num_envs_per_env_runner", "actors.envs_per_actor", whole(1)),
    _is(
        "rollout_fragment_length",
        "actors.chunk_transitions",
        either(whole(1), "auto"),
        "steps of each environment sent at a time; auto is 50",
        to.fragment,
    ),
    _is(
        "max_requests_in_flight_per_env_runner",
        "actors.chunks_in_flight",
        whole(1),
        "chunks sent and not yet stored; an actor waits then",
    ),
    _is(
        "exploration_config",
        EXPLORING,
        mapping,
        "PerWorkerEpsilonGreedy is the ladder 0.4^(1 + 7 i / (N - 1)) over all N environments, where RLlib's has one "
        "rung a worker; the other keys of this type have no effect, as there. EpsilonGreedy falls from "
        "`initial_epsilon` to `final_epsilon` over `epsilon_timesteps` trained steps, as there",
        to.exploration,
    ),
    _is(
        "epsilon",
        EXPLORING,
        or_none(to.constant_or_points),
        "a number or a schedule of all environments instead of the ladder; counts sampled steps, as there: times "
        "training_intensity, divided by train_batch_size they are updates",
        to.epsilon,
    ),
    _refused("explore", True, "training without exploration is no Q-learning; for evaluation: evaluation_config"),
    _is("remote_worker_envs", "env.processes", flag, "each environment in a process of its own"),
    _is(
        "gym_env_vectorize_mode",
        "env.processes env.vector",
        to.vectorize_mode,
        "async is `env.processes`, vector_entry_point `env.vector`",
        to.vectorized,
    ),
    _is(
        "observation_filter",
        "network.normalise",
        one_of("NoFilter", "MeanStdFilter", "ConcurrentMeanStdFilter"),
        "MeanStdFilter: vectors less their running mean, by their deviation, of all that was learned from",
        lambda value, given: value != "NoFilter",
    ),
    _is("num_cpus_per_env_runner", "actors.threads", number(least=0), "rounded down, at least 1", to.threads),
    _refused("num_gpus_per_env_runner", 0, "actors act on the CPU; one GPU for all: actors.inference = 'central'"),
    _refused("custom_resources_per_env_runner", {}, "nodes are chosen by labels: cluster.actor_labels"),
    _is(
        "batch_mode",
        "",
        one_of("truncate_episodes", "complete_episodes"),
        "no effect: an n-step window never crosses an episode's end, wherever a chunk does",
    ),
    *_nothing("compress_observations", "each frame is stored once"),
    *_nothing("sample_timeout_s", "actors send by themselves; `cluster.stall_s` is when the run ends"),
    *_nothing("use_worker_filter_stats update_worker_filter_stats", "the network has the statistics"),
    *_nothing("create_env_on_local_worker create_local_env_runner", "the main process has no environment"),
    *_nothing("validate_env_runners_after_construction episodes_to_numpy", "of RLlib's env runners"),
    *_nothing(
        "sync_filters_on_rollout_workers_timeout_s remote_env_batch_wait_ms sample_async sample_collector "
        "enable_connectors worker_cls _use_trajectory_view_api use_exec_api use_execution_plan",
        "of RLlib's workers",
    ),
    *_nothing(
        "per_worker_exploration schedule_max_timesteps exploration_fraction exploration_initial_eps "
        "exploration_final_eps",
        "of the first versions, whose Ape-X had the ladder too",
    ),
]

TRAINING = [
    _is("gamma", "td.discount", number(above=0, most=1)),
    _is(
        "lr",
        "learner.optimizer learner.learning_rate learner.learning_rate_schedule",
        to.rate_or_points,
        "Adam's; a schedule counts sampled steps, as there: see epsilon",
        to.learning_rate,
    ),
    _is(
        "lr_schedule",
        "learner.learning_rate_schedule",
        or_none(RATES),
        "steps count what was trained on, as there: divided by train_batch_size they are updates",
        to.rate_schedule,
    ),
    _is("adam_epsilon", "learner.epsilon", POSITIVE),
    _is("grad_clip", "learner.max_grad_norm", or_none(POSITIVE), "by the global norm"),
    _refused("grad_clip_by", "global_norm", "gradients are limited by their global norm"),
    _is("train_batch_size", "learner.batch_size", whole(1)),
    _is(
        "_train_batch_size_per_learner",
        "learner.batch_size",
        or_none(whole(1)),
        "times num_learners",
        to.of_all_workers,
    ),
    _is("n_step", "td.n_step", whole(1, 50), "an episode's last n - 1 steps are kept, with shorter returns"),
    _is("double_q", "td.double_q", flag),
    _is("dueling", "network.dueling", flag),
    _is("hiddens", "network.hidden", layers, "of the head, or of value and of advantage", to.widths),
    _is(
        "td_error_loss_fn",
        "learner.huber_delta",
        one_of("huber", "mse"),
        "huber has its threshold at 1, mse is half the square, as there",
        lambda value, given: 1.0 if value == "huber" else None,
    ),
    _is(
        "target_network_update_freq",
        "learner.target_every_updates",
        whole(1),
        "in trained steps, as Ape-X counts there (DQN: sampled); divided by train_batch_size, rounded up",
        to.in_updates,
    ),
    _is(
        "training_intensity",
        "replay.samples_per_insert",
        or_none(POSITIVE),
        "trained per sampled step; None is 1 as there; 2.5 is 2.5, where RLlib's Ape-X drops the fraction",
        lambda value, given: value or 1.0,
    ),
    _is(
        "num_steps_sampled_before_learning_starts",
        "replay.min_transitions",
        whole(0),
        "counts what replay holds, so it is at least a batch and at most half the capacity",
        to.min_transitions,
    ),
    _is(
        "store_buffer_in_checkpoints",
        "checkpoint.replay",
        flag,
        "the replay is saved as it is, without pickle",
    ),
    _is(
        "num_atoms",
        "td.objective td.objective_kwargs",
        whole(1),
        "1 is dqn, more is categorical with v_min and v_max; td.objective has quantile and implicit as well",
        to.atoms,
    ),
    *(_is(name, "td.objective_kwargs", number(), "with num_atoms", to.nothing_more) for name in ("v_min", "v_max")),
    _is("noisy", "network.noisy", flag, "in the heads; to act, noise is drawn with every fetch of weights"),
    _refused("sigma0", 0.5, "noise begins with Fortunato et al.'s 0.5"),
    _refused("tau", 1.0, "the target network is copied whole, every target_network_update_freq steps"),
    _refused("before_learn_on_batch", None, "what is learned from a batch is your own td.objective (docs/agents.md)"),
    _refused("burn_in_len", 0, MEMORY),
    _refused("parameter_noise", False, "exploration is epsilon-greedy"),
    *_nothing("categorical_distribution_temperature", "of an exploration by probabilities"),
    *_nothing(
        "max_requests_in_flight_per_replay_worker timeout_s_sampler_manager timeout_s_replay_manager",
        "batches are asked for ahead, `learner.prefetch_batches`",
    ),
    *_nothing("simple_optimizer _disable_execution_plan_api learner_queue_timeout", "of RLlib's learners"),
]

REPLAY = [
    _is(
        "replay_buffer_config.capacity",
        "replay.capacity_transitions",
        whole(2),
        "transitions of all shards, as there; refused where it does not fit in memory",
    ),
    _is(
        "replay_buffer_config.type",
        "",
        to.buffer_type,
        "prioritised whatever the class; a uniform one, such as MultiAgentReplayBuffer, is `replay.alpha` 0",
    ),
    _is(
        "replay_buffer_config.prioritized_replay_alpha",
        "replay.alpha",
        number(least=0),
        "0 for a buffer type without priorities",
        to.alpha,
    ),
    _is("replay_buffer_config.prioritized_replay_beta", "replay.beta", SHARE, "by the probability among all shards"),
    _is(
        "final_prioritized_replay_beta",
        "replay.beta_schedule",
        SHARE,
        "by updates; a straight line from prioritized_replay_beta",
        to.final_beta,
    ),
    _is(
        "prioritized_replay_beta_annealing_timesteps",
        "replay.beta_schedule",
        whole(1),
        "sampled steps, 20,000 where it is not given",
        to.nothing_more,
    ),
    _is("replay_buffer_config.prioritized_replay_eps", "replay.priority_floor", POSITIVE),
    _is("replay_buffer_config.prioritized_replay", "", either(flag, -1), "False is `replay.alpha` 0"),
    _refused("replay_buffer_config.worker_side_prioritization", True, "actors always give the first priorities"),
    _is("replay_buffer_config.replay_sequence_length", "", to.sequence_length, "only 1: transitions are sampled"),
    _refused("replay_buffer_config.storage_unit", "timesteps", "transitions are sampled"),
    _refused("replay_buffer_config.replay_mode", "independent", "there is one agent"),
    *_nothing(
        "replay_buffer_config.no_local_replay_buffer replay_buffer_config.replay_buffer_shards_colocated_with_driver",
        "shards are processes of their own, near the learner where there is room",
    ),
    *_nothing(
        "replay_buffer_config.replay_batch_size replay_buffer_config.num_shards "
        "replay_buffer_config._enable_replay_buffer_api replay_buffer_config.replay_burn_in "
        "replay_buffer_config.replay_zero_init_states replay_buffer_config.replay_sequence_override "
        "replay_buffer_config.seed replay_buffer_config.metrics_num_episodes_for_smoothing",
        "`optimizer.num_replay_buffer_shards`, `train_batch_size` and `seed` say it",
    ),
    _is(
        "optimizer.num_replay_buffer_shards",
        "replay.shards",
        whole(1),
        "sampled as one: no batch is of a single shard, as there",
    ),
    _is(
        "optimizer.max_weight_sync_delay",
        "actors.weights_every_steps learner.publish_every_updates",
        whole(1),
        "steps of a worker there, of each of its environments here: divided by num_envs_per_env_runner; the learner "
        "publishes as often as all actors together come by, at least every 50 updates",
        to.weights_delay,
    ),
    *_nothing("optimizer.debug", "`metrics.jsonl` has replay's figures"),
]

MODEL = [
    _is("model.fcnet_hiddens", "network.mlp_layers", layers, "of vectors", to.if_vectors),
    _is(
        "model.fcnet_activation",
        "",
        one_of("relu", "tanh"),
        "always ReLU, also for tanh, RLlib's default",
    ),
    _is(
        "model.conv_filters",
        "network.conv_channels network.conv_kernels network.conv_strides",
        or_none(to.filters),
        "without padding; None is Nature DQN's, RLlib's own default is smaller",
        to.convolutions,
    ),
    _refused("model.conv_activation", "relu", "convolutions have ReLU; others: your own network.torso"),
    _is("model.dim", "env.image_size", whole(1), "of Atari", to.if_atari),
    _is("model.framestack", "env.frame_stack", flag, "of Atari: 4 or 1", to.nothing_more),
    _is(
        "model.custom_model",
        "network.torso",
        to.torso,
        "a torch.nn.Module class: called with (spec, config.network), it gives features; heads are `hiddens` and "
        "`dueling` (docs/agents.md)",
        to.if_set,
    ),
    _is("model.custom_model_config", "network.torso_kwargs", mapping, "of a torso of yours"),
    _is("_model_config.fcnet_hiddens", "network.mlp_layers", layers, "as model.fcnet_hiddens", to.if_vectors),
    _is("_model_config.head_fcnet_hiddens", "network.hidden", layers, "as hiddens", to.widths),
    _is(
        "_model_config.conv_filters",
        "network.conv_channels network.conv_kernels network.conv_strides",
        or_none(to.filters),
        "as model.conv_filters",
        to.convolutions,
    ),
    _is("_model_config.fcnet_activation", "", one_of("relu", "tanh"), "always ReLU"),
    _refused("model.use_lstm", False, MEMORY),
    _refused("model.use_attention", False, "attention is not here"),
    _refused("_rl_module_spec", None, "a network of your own is a torso, model = {'custom_model': YourTorso}"),
    _is("model.num_framestacks", "", one_of("auto", 4), "as model.framestack says"),
    *_nothing("model.grayscale model.zero_mean model.channel_major", "Atari's frames are gray bytes"),
    *_nothing(
        "model.max_seq_len model.no_final_linear model.vf_share_layers model.free_log_std "
        "model._disable_preprocessor_api model._disable_action_flattening model.always_check_shapes "
        "model.lstm_cell_size model.lstm_use_prev_action model.lstm_use_prev_reward model.squash_to_range "
        "model.state_shape model.lstm_use_prev_action_reward",
        "of RLlib's models",
    ),
]

LEARNERS = [
    _is("num_learners", "learner.workers", whole(0), "0, in the main process, is a process of its own too", to.workers),
    _is(
        "num_gpus",
        "learner.device",
        number(least=0),
        "a GPU where there is one, else the CPU; 0, without num_gpus_per_learner, is the CPU",
        to.device,
    ),
    _is("num_gpus_per_learner", "learner.device", number(least=0), "as num_gpus", to.device),
    _is("_fake_gpus", "learner.device", flag, "True is the CPU", to.device),
    _is(
        "num_cpus_per_learner",
        "learner.threads",
        either(number(least=0), "auto"),
        "threads of the learner; auto: what actors leave, of a trial of Tune's 1",
        lambda value, given: "auto" if value == "auto" or value < 1 else int(value),
    ),
    _is("torch_compile_learner", "learner.compile", flag, "the loss and its gradient"),
    _refused("framework_str", "torch", "networks here are PyTorch's; expected framework = 'torch'"),
    *_nothing(
        "torch_compile_worker torch_compile_learner_dynamo_backend torch_compile_learner_dynamo_mode "
        "torch_compile_learner_what_to_compile torch_compile_worker_dynamo_backend torch_compile_worker_dynamo_mode",
        "`learner.compile`",
    ),
    *_nothing("eager_tracing eager_max_retraces tf_session_args local_tf_session_args", "of TensorFlow"),
    *_nothing("num_aggregator_actors_per_learner max_requests_in_flight_per_aggregator_actor", "of RLlib's learners"),
    *_nothing("max_requests_in_flight_per_learner local_gpu_idx", "of RLlib's learners"),
    *_nothing(
        "num_cpus_for_main_process placement_strategy memory object_store_memory memory_per_worker "
        "object_store_memory_per_worker",
        "each process says what it needs",
    ),
    *_nothing(
        "eager no_eager_on_workers _tf_policy_handles_more_than_one_loss _disable_preprocessor_api "
        "_disable_action_flattening _disable_initialize_loss_from_dummy_batch",
        "of RLlib's policies",
    ),
    *_nothing("enable_rl_module_and_learner enable_env_runner_and_connector_v2", "both stacks are the same here"),
]

EVALUATION = [
    _read("evaluation_interval", or_none(whole(0)), "read by ApexDQN: iterations between evaluations; None for none"),
    _is(
        "evaluation_duration",
        "evaluation.episodes",
        either(whole(1), "auto"),
        "whole episodes, each at its full length; auto is 20",
        lambda value, given: 20 if value == "auto" else value,
    ),
    _is("evaluation_duration_unit", "", to.episodes, "only episodes"),
    _is(
        "evaluation_num_env_runners",
        "evaluation.envs",
        whole(0),
        "one process; this many times num_envs_per_env_runner environments in it, 0 is 8",
        to.evaluation_envs,
    ),
    _is("evaluation_sample_timeout_s", "evaluation.max_s", or_none(POSITIVE), "it ends with the episodes it has"),
    _is(
        "evaluation_config.explore", "evaluation.epsilon", to.greedy, "only False: epsilon 0", lambda value, given: 0.0
    ),
    _is("evaluation_config.env_config", "evaluation.env_kwargs", mapping, "what differs", to.nothing_more),
    _is("evaluation_config.num_envs_per_env_runner", "", whole(1), "for evaluation_num_env_runners"),
    *_nothing("evaluation_config.env", "it is the run's"),
    *_nothing("evaluation_parallel_to_training", "actors and learner go on in any case"),
    *_nothing(
        "evaluation_force_reset_envs_before_iteration evaluation_auto_duration_min_env_steps_per_sample "
        "evaluation_auto_duration_max_env_steps_per_sample evaluation_unhealthy_workers_timeout_s "
        "evaluation_error_after_n_consecutive_skips always_attach_evaluation_results enable_async_evaluation "
        "in_evaluation",
        "an evaluation is whole episodes from their start",
    ),
]

REPORTING = [
    _read("min_time_s_per_iteration", or_none(number(least=0)), "read by ApexDQN: of a call of train()"),
    _read("min_sample_timesteps_per_iteration", or_none(whole(0)), "read by ApexDQN: of a call of train()"),
    _read("min_train_timesteps_per_iteration", or_none(whole(0)), "read by ApexDQN: of a call of train()"),
    _read("metrics_num_episodes_for_smoothing", whole(1), "read by ApexDQN"),
    _read(
        "callbacks_class", to.callbacks, "read by ApexDQN, as `on_...` functions: for the events that there are here"
    ),
    _is("seed", "seed", or_none(whole(0)), "None draws one, which the run keeps", to.seed),
    *_nothing("log_level log_sys_usage logger_creator logger_config", "`report.loggers`, Tune's callbacks"),
    *_nothing("keep_per_episode_custom_metrics metrics_episode_collection_timeout_s log_gradients", "`metrics.jsonl`"),
    *_nothing("export_native_model_files checkpoint_trainable_policies_only", "checkpoints are safetensors"),
]

FAULTS = [
    _is(
        "max_num_env_runner_restarts",
        "cluster.max_restarts",
        whole(0),
        "of all actors together; only lost processes and nodes: an environment's own error ends the run",
        to.max_restarts,
    ),
    _is("restart_failed_env_runners", "cluster.max_restarts", flag, "False is 0", to.max_restarts),
    _is("ignore_env_runner_failures", "", flag, "no effect: a lost actor is replaced"),
    _refused(
        "restart_failed_sub_environments",
        False,
        "an environment's error ends the run with its message; one that crashes is started anew by env.processes",
    ),
    *_nothing(
        "delay_between_env_runner_restarts_s num_consecutive_env_runner_failures_tolerance "
        "env_runner_health_probe_timeout_s env_runner_restore_timeout_s",
        "a lost actor is seen and replaced at once",
    ),
]

OTHER = [
    Key("policies", (), to.one_policy, "only one: multi_agent is not here"),
    *_nothing(
        "policy_mapping_fn policy_map_capacity policy_map_cache policy_states_are_swappable", "there is one policy"
    ),
    *_nothing("input_evaluation off_policy_estimation_methods", "of offline data"),
    _refused("policies_to_train", None, "multi_agent is not here: one agent learns from one environment"),
    _refused("count_steps_by", "env_steps", "multi_agent is not here: one agent learns from one environment"),
    _refused("observation_fn", None, "multi_agent is not here: one agent learns from one environment"),
    _refused("input_", "sampler", "offline data is not here: an agent learns from its own environment"),
    _refused("output", None, "what is sampled is not written; the replay is, by store_buffer_in_checkpoints"),
    _refused("_env_to_module_connector", None, "connectors are not here; write it as a wrapper of the environment"),
    _refused("_module_to_env_connector", None, "connectors are not here; write it as a wrapper of the environment"),
    _refused("_learner_connector", None, "connectors are not here; your own td.objective is (docs/agents.md)"),
    _refused("_learner_class", None, "your own learning is a td.objective or an agent (docs/agents.md)"),
    _refused("env_runner_cls", None, "actors are apex-ray's; your own agent says how they act (docs/agents.md)"),
    _refused("custom_evaluation_function", None, "evaluate() plays whole episodes; on_evaluate_end has its result"),
    _refused("fake_sampler", False, "there is no such actor"),
    _refused("soft_horizon", False, "after `horizon` steps an episode ends"),
    _refused("no_done_at_end", False, "a truncated episode keeps the value of its last state by itself"),
]

KEYS = [
    *ENVIRONMENT, *ENV_RUNNERS, *TRAINING, *REPLAY, *MODEL, *LEARNERS, *EVALUATION, *REPORTING, *FAULTS, *OTHER,
]  # fmt: skip
