"""Files of RLlib's tuned examples: experiments by name, each with run, env, stop and config."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apex_ray.rllib.config import ApexDQNConfig
from apex_ray.rllib.values import wrong
from trainkit.config_yaml import construct, read_mapping
from trainkit.errors import UserError, did_you_mean

RUNS = ("APEX", "APEX_DQN")
# Of Tune's experiments, what belongs to a Tuner: num_samples, resources and the like are its arguments.
KEYS = ("run", "env", "stop", "config", "checkpoint_config", "checkpoint_freq", "checkpoint_at_end", "num_samples")
# Metrics that are called something else since; others, such as episode_reward_mean, are there by their old names.
METRICS = {
    "timesteps_total": "num_env_steps_sampled_lifetime",
    "sampler_results/episode_reward_mean": "episode_reward_mean",
}


def from_yaml(path: str | Path, name: str | None = None) -> tuple[ApexDQNConfig, dict[str, Any]]:
    """(configuration, stop) of the experiment `name` in a file, or of its only one.

    `stop` is for tune.RunConfig: metrics by the names of today. Search spaces (`grid_search`) stay what they are, for
    tune.Tuner. UserError for a file that can't be read, an experiment that is none of Ape-X, and every unknown key.
    """
    label = str(path)
    experiments = construct(read_mapping(Path(path), label), label, "")
    chosen = _chosen(experiments, name, label)
    experiment = experiments[chosen]
    if not isinstance(experiment, Mapping):
        raise UserError(f"{label}: {chosen}: expected a mapping with run, env, stop and config")
    for key in experiment:
        if key not in KEYS:
            raise UserError(
                f"{label}: {chosen} has no key {key!r}; expected {', '.join(KEYS)}.{did_you_mean(key, KEYS)}"
            )
    if experiment.get("run") not in RUNS:
        raise UserError(f"{label}: {chosen}: run = {experiment.get('run')!r}: expected {' or '.join(RUNS)}")
    given: Any = experiment.get("config") or {}
    stop: Any = experiment.get("stop") or {}
    if not isinstance(given, Mapping) or not isinstance(stop, Mapping):
        raise wrong(f"{chosen}: config and stop", (given, stop), "expected mappings")
    config = ApexDQNConfig.from_dict(given)
    if "env" in experiment:
        config.environment(env=experiment["env"])
    return config, {METRICS.get(str(metric), str(metric)): value for metric, value in stop.items()}


def _chosen(experiments: Mapping[str, Any], name: str | None, label: str) -> str:
    names = list(experiments)
    if name is None and len(names) == 1:
        return names[0]
    if name is None or name not in experiments:
        hint = did_you_mean(name or "", names)
        raise UserError(f"{label}: experiment = {name!r}: expected one of {', '.join(map(str, names))}.{hint}")
    return name
