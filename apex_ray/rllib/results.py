"""RLlib's names for what a run measures: one table, for its keys of today and the flat ones of before."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ray.rllib.core import ALL_MODULES, DEFAULT_MODULE_ID
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    EVALUATION_RESULTS,
    FAULT_TOLERANCE_STATS,
    LEARNER_RESULTS,
    REPLAY_BUFFER_RESULTS,
    TIMERS,
)

from apex_ray.config.schema import ActorsConfig
from apex_ray.report.metrics import METRICS
from apex_ray.types import EvaluationResult

Row = Mapping[str, float]


@dataclass(frozen=True)
class Iteration:
    """What one call of `train` adds to a row of metrics."""

    frame_skip: int  # emulator frames of an agent step; RLlib counts steps
    batch_size: int
    learning_rate: float
    before: Row  # the row that the iteration before ended with; {} for the first
    seconds: float
    evaluation_s: float = 0.0
    has_ladder: bool = True


def has_ladder(actors: ActorsConfig) -> bool:
    """Whether each environment keeps an epsilon of its own."""
    return actors.epsilon_alpha != 0 and not actors.epsilon_schedule


Value = Callable[[Row, Iteration], float]


def _metric(name: str) -> Value:
    assert name in METRICS, name
    return lambda row, _: row.get(name, math.nan)


def _return(row: Row, it: Iteration) -> float:
    """Of the quarter of the environments that explores least, as RLlib's Ape-X took a third of its workers; of all
    where there is one epsilon for all.
    """
    return row.get("episode_return_band_0" if it.has_ladder else "episode_return", math.nan)


def _least(row: Row, it: Iteration) -> float:
    """Of all episodes that ended lately, whatever their epsilon; those of `_return` may have ended before."""
    return min(row.get("episode_return_min", math.nan), _return(row, it))


def _most(row: Row, it: Iteration) -> float:
    return max(row.get("episode_return_max", math.nan), _return(row, it))


def _steps(row: Row, it: Iteration) -> float:
    return int(row.get("frames", 0)) // it.frame_skip


def _trained(row: Row, it: Iteration) -> float:
    return int(row.get("updates", 0)) * it.batch_size


def _episodes(row: Row, it: Iteration) -> float:
    return int(row.get("episodes", 0))


def _updates(row: Row, it: Iteration) -> float:
    return int(row.get("updates", 0))


def _new(total: Value) -> Value:
    """Of this iteration."""
    return lambda row, it: total(row, it) - total(it.before, it)


_ENV, _LEARN, _ALL = ENV_RUNNER_RESULTS, (LEARNER_RESULTS, DEFAULT_MODULE_ID), (LEARNER_RESULTS, ALL_MODULES)
# RLlib's key as a path -> its value. Returns are of training episodes that ended lately.
TABLE: dict[tuple[str, ...], Value] = {
    (_ENV, "episode_return_mean"): _return,
    (_ENV, "episode_return_min"): _least,
    (_ENV, "episode_return_max"): _most,
    (_ENV, "episode_len_mean"): _metric("episode_length_steps"),
    (_ENV, "num_episodes"): _new(_episodes),
    (_ENV, "num_episodes_lifetime"): _episodes,
    (_ENV, "num_env_steps_sampled"): _new(_steps),
    (_ENV, "num_env_steps_sampled_lifetime"): _steps,
    (_ENV, "num_env_steps_sampled_per_second"): _metric("steps_per_s"),
    ("num_env_steps_sampled_lifetime",): _steps,
    ("num_env_steps_trained_lifetime",): _trained,
    (*_LEARN, "total_loss"): _metric("loss"),
    (*_LEARN, "td_error_mean"): _metric("td_error"),
    (*_LEARN, "qf_mean"): _metric("q_mean"),
    (*_LEARN, "gradients_default_optimizer_global_norm"): _metric("grad_norm"),
    (*_LEARN, "default_optimizer_learning_rate"): lambda _, it: it.learning_rate,
    (*_LEARN, "num_grad_updates_lifetime"): _updates,
    (*_LEARN, "num_module_steps_trained_lifetime"): _trained,
    (*_LEARN, "weights_seq_no"): _metric("weights_version"),
    (*_LEARN, "diff_num_grad_updates_vs_sampler_policy"): _metric("policy_age_updates"),
    (*_ALL, "num_env_steps_trained"): _new(_trained),
    (*_ALL, "num_env_steps_trained_lifetime"): _trained,
    (FAULT_TOLERANCE_STATS, "num_healthy_workers"): _metric("actors_alive"),
    (FAULT_TOLERANCE_STATS, "num_remote_worker_restarts"): _metric("restarts"),
    (TIMERS, "training_iteration"): lambda _, it: it.seconds,
    (TIMERS, "evaluation_iteration"): lambda _, it: it.evaluation_s,
    (TIMERS, "learner_wait"): _metric("learner_wait_s"),
    (REPLAY_BUFFER_RESULTS, "num_env_steps_stored"): _metric("replay_transitions"),
    (REPLAY_BUFFER_RESULTS, "fill"): _metric("replay_fill"),
    (REPLAY_BUFFER_RESULTS, "bytes"): _metric("replay_bytes"),
    (REPLAY_BUFFER_RESULTS, "samples_per_insert"): _metric("replay_ratio"),
    # as they were called before
    ("episode_reward_mean",): _return,
    ("episode_reward_min",): _least,
    ("episode_reward_max",): _most,
    ("sampler_results", "episode_reward_mean"): _return,
    ("episode_len_mean",): _metric("episode_length_steps"),
    ("episodes_this_iter",): _new(_episodes),
    ("episodes_total",): _episodes,
    ("timesteps_this_iter",): _new(_steps),
    ("timesteps_total",): _steps,
    ("agent_timesteps_total",): _steps,
    ("num_env_steps_sampled",): _steps,
    ("num_env_steps_sampled_this_iter",): _new(_steps),
    ("num_env_steps_trained",): _trained,
    ("num_env_steps_trained_this_iter",): _new(_trained),
    ("num_healthy_workers",): _metric("actors_alive"),
    ("num_remote_worker_restarts",): _metric("restarts"),
    ("info", "learner", DEFAULT_MODULE_ID, "learner_stats", "mean_q"): _metric("q_mean"),
    ("info", "learner", DEFAULT_MODULE_ID, "learner_stats", "mean_td_error"): _metric("td_error"),
    ("info", "learner", DEFAULT_MODULE_ID, "learner_stats", "cur_lr"): lambda _, it: it.learning_rate,
    ("info", "num_env_steps_sampled"): _steps,
    ("info", "num_env_steps_trained"): _trained,
}


def of_iteration(row: Row, iteration: Iteration) -> dict[str, Any]:
    """An iteration's result; what was not measured yet is nan. `apex` holds the row by our own names."""
    result: dict[str, Any] = {"apex": dict(row)}
    for path, value in TABLE.items():
        place = result
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place[path[-1]] = value(row, iteration)
    return result


def of_evaluation(result: EvaluationResult) -> dict[str, Any]:
    """What `evaluate` returns: whole episodes of the newest weights, their returns unclipped."""
    returns, lengths = np.asarray(result.returns), np.asarray(result.lengths_steps)
    return {
        ENV_RUNNER_RESULTS: {
            "episode_return_mean": float(returns.mean()),
            "episode_return_min": float(returns.min()),
            "episode_return_max": float(returns.max()),
            "episode_len_mean": float(lengths.mean()),
            "episode_len_min": int(lengths.min()),
            "episode_len_max": int(lengths.max()),
            "num_episodes": len(returns),
            "num_env_steps_sampled": int(lengths.sum()),
            "weights_seq_no": result.version,
        },
        # as they were called before
        "episode_reward_mean": float(returns.mean()),
        "episode_reward_min": float(returns.min()),
        "episode_reward_max": float(returns.max()),
        "episode_len_mean": float(lengths.mean()),
        "episodes_this_iter": len(returns),
    }


def with_evaluation(result: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """An iteration's result with that of its evaluation."""
    return {**result, EVALUATION_RESULTS: dict(evaluation)}
