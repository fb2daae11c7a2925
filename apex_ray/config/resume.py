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


def _keys(**names: str) -> list[str]:
    """Dotted keys: of each section the names, separated by spaces."""
    return [f"{section}.{name}" for section, listed in names.items() for name in listed.split()]


_SAME_NETWORK = "the weights are of that network"

FIXED = {
    "name": "the run's folder has that name already",
    "seed": "the run has begun with it; every resume draws new random numbers",
    "runs_dir": "the run goes on in its folder",
    **dict.fromkeys(
        _keys(env="id make frame_skip sticky_actions kwargs"),
        "the run's scores, its best checkpoint among them, are of that task",
    ),
    **dict.fromkeys(
        _keys(
            env="frame_stack image_size full_action_space channels ignore action_mask max_joint_actions",
            td="objective objective_kwargs value_rescaling",
            network="torso torso_kwargs conv_channels conv_kernels conv_strides mlp_layers hidden normalise "
            "layer_norm noisy dueling memory memory_kwargs",
        ),
        _SAME_NETWORK,
    ),
    "agent": _SAME_NETWORK,
    "learner.init_from": "the run has begun, and goes on from its own checkpoint",
    "learner.optimizer": "its running means are of the other kind",
}

STORED = {
    "env.terminal_on_life_loss": "stored windows end by it",
    "td.n_step": "stored windows have that length",
    "td.discount": "stored returns are discounted with it",
    "td.reward_clip": "stored returns are clipped with it",
    "actors.chunk_transitions": "stored chunks have that length",
    **dict.fromkeys(_keys(sequences="burn_in_steps length_steps period_steps"), "stored sequences are so long"),
    "sequences.eta": "stored priorities have it in them",
    "replay.capacity_transitions": "the saved replay has that size",
    "replay.shards": "the saved replay has that many files",
    "replay.alpha": "stored priorities are raised to it",
    "replay.priority_floor": "stored priorities have it in them",
}

FREE = [
    "mode",
    *_keys(
        env="noop_max fire_reset max_episode_frames step_limit_s vector processes import_modules",
        td="double_q munchausen munchausen_temperature munchausen_clip",
        actors="count envs_per_actor epsilon_base epsilon_alpha epsilon_schedule weights_every_steps "
        "chunks_in_flight groups threads bf16 inference inference_device",
        replay="min_transitions beta beta_schedule samples_per_insert insert_tolerance_transitions frames max_bytes",
        learner="batch_size learning_rate learning_rate_schedule rmsprop_decay epsilon max_grad_norm huber_delta "
        "target_every_updates reset_every_updates reset_share publish_every_updates prefetch_batches device bf16 "
        "compile cuda_graphs threads workers",
        evaluation="every_s episodes env_kwargs envs epsilon video final max_episode_frames max_s",
        stop="after_s after_frames after_updates evaluation_return",
        checkpoint="every_s keep replay",
        cluster="address learner_labels actor_labels autoscale_s shortage_s stall_s max_restarts dashboard "
        "object_store_bytes",
        report="every_s line_every_s loggers",
    ),
]

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


def refuse(
    changed: Changes, saved_replay: str | None, free: Collection[str] = (), asked: str = "command line: --resume"
) -> None:
    """UserError that names every setting that may not change, with both values; `saved_replay`: its files, if any.

    `free`: keys below env.kwargs that may (config/plugins.py); `asked`: what its caller used, for the message.
    """
    wrong = []
    for key in changed:
        whole = KWARGS if key.startswith(f"{KWARGS}.") else key
        if whole in FIXED and key not in free:
            wrong.append(f"{_change(key, *changed[key])} ({FIXED[whole]})")
    if saved_replay is not None:
        wrong += [
            f"{_change(key, *changed[key])} ({STORED[key]}: remove {saved_replay} to go on with an empty replay)"
            for key in changed
            if key in STORED
        ]
    if wrong:
        raise UserError(f"{asked} can't change {'; nor '.join(wrong)}")


def as_line(changed: Changes) -> str:
    """All of them in a line."""
    return ", ".join(_change(key, *values) for key, values in changed.items())


def _change(key: str, before: object, after: object) -> str:
    return f"{key} {dump(before, flow=True)} -> {dump(after, flow=True)}"
