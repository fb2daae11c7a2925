"""Which settings a run may change when it is resumed: a decision for every key of the schema.

FREE ones change from there on. FIXED ones can't: what was learned would not fit, or its scores would not compare.
STORED ones decide what the transitions in replay mean: they may change unless a saved replay is to be loaded.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from apex_ray.config.plugins import KWARGS, settings_of
from apex_ray.config.schema import ApexConfig
from trainkit.config import flatten
from trainkit.config_yaml import dump
from trainkit.errors import UserError

_SAME_TASK = "the run's scores, its best checkpoint among them, are of that task"
_SAME_NETWORK = "the weights are of that network"

FIXED = {
    "name": "the run's folder has that name already",
    "seed": "the run has begun with it; every resume draws new random numbers",
    "runs_dir": "the run goes on in its folder",
    **dict.fromkeys(
        (
            "env.id",
            "env.make",
            "env.frame_skip",
            "env.sticky_actions",
            "env.kwargs",
        ),
        _SAME_TASK,
    ),
    **dict.fromkeys(
        (
            "env.frame_stack",
            "env.image_size",
            "env.full_action_space",
            "env.channels",
            "env.ignore",
            "env.action_mask",
            "env.max_joint_actions",
            "agent",
            "td.objective",
            "td.objective_kwargs",
            "network.torso",
            "network.torso_kwargs",
            "network.conv_channels",
            "network.conv_kernels",
            "network.conv_strides",
            "network.mlp_layers",
            "network.hidden",
            "network.normalise",
            "network.dueling",
        ),
        _SAME_NETWORK,
    ),
    "learner.init_from": "the run has begun, and goes on from its own checkpoint",
    "learner.optimizer": "its running means are of the other kind",
}

STORED = {
    "env.terminal_on_life_loss": "stored windows end by it",
    "td.n_step": "stored windows have that length",
    "td.discount": "stored returns are discounted with it",
    "td.reward_clip": "stored returns are clipped with it",
    "actors.chunk_transitions": "stored chunks have that length",
    "replay.capacity_transitions": "the saved replay has that size",
    "replay.shards": "the saved replay has that many files",
    "replay.alpha": "stored priorities are raised to it",
    "replay.priority_floor": "stored priorities have it in them",
}

FREE = frozenset(
    {
        "mode",
        "env.noop_max",
        "env.fire_reset",
        "env.max_episode_frames",
        "env.step_limit_s",
        "env.vector",
        "env.processes",
        "env.import_modules",
        "td.double_q",
        "actors.count",
        "actors.envs_per_actor",
        "actors.epsilon_base",
        "actors.epsilon_alpha",
        "actors.epsilon_schedule",
        "actors.weights_every_steps",
        "actors.chunks_in_flight",
        "actors.groups",
        "actors.threads",
        "actors.bf16",
        "actors.inference",
        "actors.inference_device",
        "replay.min_transitions",
        "replay.beta",
        "replay.samples_per_insert",
        "replay.insert_tolerance_transitions",
        "replay.frames",
        "replay.max_bytes",
        "learner.batch_size",
        "learner.learning_rate",
        "learner.learning_rate_schedule",
        "learner.rmsprop_decay",
        "learner.epsilon",
        "learner.max_grad_norm",
        "learner.huber_delta",
        "learner.target_every_updates",
        "learner.publish_every_updates",
        "learner.prefetch_batches",
        "learner.device",
        "learner.bf16",
        "learner.compile",
        "learner.cuda_graphs",
        "learner.threads",
        "evaluation.every_s",
        "evaluation.episodes",
        "evaluation.env_kwargs",
        "evaluation.envs",
        "evaluation.epsilon",
        "evaluation.video",
        "evaluation.final",
        "evaluation.max_episode_frames",
        "evaluation.max_s",
        "stop.after_s",
        "stop.after_frames",
        "stop.after_updates",
        "stop.evaluation_return",
        "checkpoint.every_s",
        "checkpoint.keep",
        "checkpoint.replay",
        "cluster.address",
        "cluster.learner_labels",
        "cluster.actor_labels",
        "cluster.autoscale_s",
        "cluster.shortage_s",
        "cluster.stall_s",
        "cluster.max_restarts",
        "cluster.dashboard",
        "cluster.object_store_bytes",
        "report.every_s",
        "report.line_every_s",
        "report.loggers",
    }
)

Changes = dict[str, tuple[Any, Any]]  # by dotted key: (before, after) as YAML knows values


def changes(before: ApexConfig, after: ApexConfig) -> Changes:
    """What differs, in the order of the schema; env.kwargs key by key."""
    old, new = flat(before), flat(after)
    return {key: (old.get(key), new.get(key)) for key in {**new, **old} if old.get(key) != new.get(key)}


def flat(config: ApexConfig) -> dict[str, Any]:
    """Every setting by its dotted key as YAML knows values, those of env.kwargs key by key."""
    values = flatten(config)
    del values[KWARGS]
    return values | {f"{KWARGS}.{name}": value for name, value in settings_of(config.env).items()}


def refuse(changed: Changes, saved_replay: str | None, free: Collection[str] = ()) -> None:
    """UserError that names every setting that may not change, with both values; `saved_replay`: its files, if any.

    `free`: keys below env.kwargs that may (config/plugins.py).
    """
    wrong = []
    for key in changed:
        whole = KWARGS if key.startswith(f"{KWARGS}.") else key
        if whole in FIXED and key not in free:
            wrong.append(f"{_told(key, *changed[key])} ({FIXED[whole]})")
    if saved_replay is not None:
        wrong += [
            f"{_told(key, *changed[key])} ({STORED[key]}: remove {saved_replay} to go on with an empty replay)"
            for key in changed
            if key in STORED
        ]
    if wrong:
        raise UserError(f"command line: --resume can't change {'; nor '.join(wrong)}")


def told(changed: Changes) -> str:
    """All of them in a line."""
    return ", ".join(_told(key, *values) for key, values in changed.items())


def _told(key: str, before: object, after: object) -> str:
    return f"{key} {dump(before, flow=True)} -> {dump(after, flow=True)}"
