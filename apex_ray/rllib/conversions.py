"""From the value of a key of RLlib's to that of ours: what is more than handing it over.

Checks (key, value) and conversions (value, given) of `keys.py`.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from torch import nn

from apex_ray.dotted import dotted_name
from apex_ray.rllib.values import number, one_of, points, whole, wrong
from cluster.ray_private import registered_with_tune
from trainkit.errors import UserError, did_you_mean

SKIP = object()  # no setting comes of it
BETA_STEPS = 20_000  # that RLlib's beta took to its last value, where nothing else was given
PUBLISHED_EVERY = 50  # updates between new weights, at most
LADDER = {"actors.epsilon_base": 0.4, "actors.epsilon_alpha": 7.0, "actors.epsilon_schedule": ()}
RATE = number(least=0)
SHARE = number(least=0, most=1)
UNIFORM = ("MultiAgentReplayBuffer", "ReplayBuffer", "EpisodeReplayBuffer", "MultiAgentEpisodeReplayBuffer")
PRIORITISED = (
    "MultiAgentPrioritizedReplayBuffer",
    "PrioritizedReplayBuffer",
    "PrioritizedEpisodeReplayBuffer",
    "MultiAgentPrioritizedEpisodeReplayBuffer",
)


class Given(Protocol):
    """The values of a configuration, checked, by RLlib's names."""

    atari: bool  # whether the environment is one of Atari's games

    @property
    def samples_per_insert(self) -> float | None: ...  # None: as many as there is time for

    def __call__(self, name: str) -> Any: ...


def as_it_is(value: Any, given: Given) -> Any:
    return value


def nothing_more(value: Any, given: Given) -> Any:
    """Another key decides it, or the environment (environments.py)."""
    return SKIP


def if_set(value: Any, given: Given) -> Any:
    return SKIP if value is None else value


def if_atari(value: Any, given: Given) -> Any:
    return value if given.atari else SKIP


def at_least_one(value: int, given: Given) -> int:
    return max(value, 1)


def threads(value: float, given: Given) -> int:
    return max(int(value), 1)


def reward_clip(value: bool | float | None, given: Given) -> float | None:
    if value is None:
        return 1.0 if given.atari else None
    if isinstance(value, bool):
        return 1.0 if value else None
    return float(value)


def fragment(value: int | str, given: Given) -> int:
    return 50 if isinstance(value, str) else value


# What happens after so many steps


def batch_size(given: Given) -> int:
    """Of all learners together."""
    of_one: int | None = given("_train_batch_size_per_learner")
    size: int = of_one * workers(given("num_learners"), given) if of_one else given("train_batch_size")
    return size


def in_updates(steps: int, given: Given) -> int:
    """Updates until `steps` transitions have been learned from."""
    return max(math.ceil(steps / batch_size(given)), 1)


def schedule(given_points: Sequence[tuple[int, float]], given: Given) -> tuple[tuple[int, float], ...]:
    """By updates, of points by trained steps; of points within one update the last counts."""
    by_update = {round(step / batch_size(given)): value for step, value in given_points}
    return tuple(by_update.items())


def sampled_schedule(
    key: str, given_points: Sequence[tuple[int, float]], given: Given
) -> tuple[tuple[int, float], ...]:
    """By updates, of points by sampled steps, each of which is trained on `training_intensity` times."""
    intensity = given.samples_per_insert
    if intensity is None:
        raise wrong(
            key,
            list(given_points),
            "counts sampled steps, which are no number of updates while replay.samples_per_insert is None; expected a "
            "training_intensity, or a schedule by updates: learner.learning_rate_schedule, actors.epsilon_schedule",
        )
    return schedule([(round(step * intensity), value) for step, value in given_points], given)


def min_transitions(value: int, given: Given) -> int:
    capacity: int = given("replay_buffer_config.capacity")
    return max(min(value, capacity // 2), batch_size(given))


def weights_delay(steps: int, given: Given) -> dict[str, Any]:
    """Fetches of weights by an actor after `steps` of all its environments, and about as many new ones to fetch."""
    fetches = max(math.ceil(steps / given("num_envs_per_env_runner")), 1)
    sampled = steps * max(given("num_env_runners"), 1)
    updates = int(sampled * (given("training_intensity") or 1) / batch_size(given))
    return {
        "actors.weights_every_steps": fetches,
        "learner.publish_every_updates": min(max(updates, 1), PUBLISHED_EVERY),
    }


# Learning rates


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def rate_or_points(key: str, value: Any) -> Any:
    return points(RATE)(key, value) if _is_list(value) else number(above=0)(key, value)


def learning_rate(value: Any, given: Given) -> dict[str, Any]:
    rates = given("lr_schedule") or (value if isinstance(value, list) else None)
    by_update: tuple[tuple[int, float], ...] = ()
    if rates:
        by_update = schedule(rates, given) if given("lr_schedule") else sampled_schedule("lr", rates, given)
    return {
        "learner.optimizer": "adam",
        "learner.learning_rate": max(rate for _, rate in rates) if rates else value,
        "learner.learning_rate_schedule": by_update,
    }


def rate_schedule(value: Any, given: Given) -> Any:
    return SKIP if value is None else schedule(value, given)


# Exploration


def name_of(kind: Any) -> str:
    """Of a class, a path to one or its name."""
    return (kind.__name__ if isinstance(kind, type) else str(kind)).rpartition(".")[2]


def constant_or_points(key: str, value: Any) -> Any:
    return points(SHARE)(key, value) if _is_list(value) else number(above=0, below=1)(key, value)


def exploration(value: Mapping[str, Any], given: Given) -> dict[str, Any]:
    known = ("type", "initial_epsilon", "final_epsilon", "epsilon_timesteps", "warmup_timesteps")
    for part in value:
        if part not in known:
            hint = did_you_mean(part, known)
            raise UserError(
                f"ApexDQNConfig: exploration_config has no key {part!r}; expected {', '.join(known)}.{hint}"
            )
    kind = name_of(value.get("type", "PerWorkerEpsilonGreedy"))
    if kind not in ("PerWorkerEpsilonGreedy", "EpsilonGreedy"):
        raise wrong(
            "exploration_config.type",
            kind,
            "exploration is epsilon-greedy here; expected 'PerWorkerEpsilonGreedy' (Ape-X's ladder) or "
            "'EpsilonGreedy', or your own agent, whose choose() explores (docs/agents.md)",
        )
    # RLlib's ladder is of its remote workers: the main process, sampling alone, has a falling epsilon.
    if kind == "PerWorkerEpsilonGreedy" and given("num_env_runners") > 0:
        return LADDER
    place = "exploration_config."
    start = SHARE(f"{place}initial_epsilon", value.get("initial_epsilon", 1.0))
    final = number(above=0, below=1)(f"{place}final_epsilon", value.get("final_epsilon", 0.05))
    wait = whole(0)(f"{place}warmup_timesteps", value.get("warmup_timesteps", 0))
    falls = whole(0)(f"{place}epsilon_timesteps", value.get("epsilon_timesteps", 100_000))
    if start < final:
        raise wrong(f"{place}initial_epsilon", start, f"expected at least final_epsilon, {final}")
    return _for_all(schedule(((0, start), (wait, start), (wait + falls, final)), given))


def _for_all(by_update: Sequence[tuple[int, float]]) -> dict[str, Any]:
    final = by_update[-1][1]
    falling = by_update if any(value != final for _, value in by_update) else ()
    return {"actors.epsilon_base": final, "actors.epsilon_alpha": 0.0, "actors.epsilon_schedule": tuple(falling)}


def epsilon(value: Any, given: Given) -> Any:
    if value is None:
        return SKIP
    found = value if isinstance(value, list) else [(0, value)]
    number(above=0, below=1)("epsilon, its last value,", found[-1][1])
    return _for_all(sampled_schedule("epsilon", found, given) if len(found) > 1 else found)


# Environments side by side


def vectorize_mode(key: str, value: Any) -> str:
    """A name, or Gymnasium's VectorizeMode."""
    name: str = one_of("sync", "async", "vector_entry_point")(key, getattr(value, "value", value))
    return name


def vectorized(value: str, given: Given) -> Any:
    if value == "sync":
        return SKIP  # remote_worker_envs may ask for processes
    return {"env.processes": value == "async", "env.vector": value == "vector_entry_point"}


# Replay


def buffer_type(key: str, value: Any) -> str:
    name = name_of(value)
    known = (*PRIORITISED, *UNIFORM)
    if name not in known:
        hint = did_you_mean(name, known)
        raise wrong(key, name, f"replay is apex-ray's own; expected one of {', '.join(known)}.{hint}")
    return name


def alpha(value: float, given: Given) -> float:
    uniform = given("replay_buffer_config.type") in UNIFORM or given("replay_buffer_config.prioritized_replay") is False
    return 0.0 if uniform else value


def final_beta(value: float, given: Given) -> tuple[tuple[int, float], ...]:
    beta: float = given("replay_buffer_config.prioritized_replay_beta")
    if value == beta:
        return ()
    steps = given("prioritized_replay_beta_annealing_timesteps") or BETA_STEPS
    return sampled_schedule("final_prioritized_replay_beta", [(0, beta), (steps, value)], given)


def atoms(value: int, given: Given) -> dict[str, Any]:
    if value == 1:
        return {"td.objective": "dqn", "td.objective_kwargs": {}}
    kwargs = {"atoms": value, "low": given("v_min"), "high": given("v_max")}
    return {"td.objective": "categorical", "td.objective_kwargs": kwargs}


def sequence_length(key: str, value: Any) -> Any:
    if value not in (None, -1, 0, 1):
        raise wrong(key, value, "transitions are sampled, not sequences; expected 1")
    return value


# Networks


def if_vectors(value: list[int], given: Given) -> tuple[int, ...] | object:
    return tuple(value) if value else SKIP


def widths(value: list[int], given: Given) -> int | tuple[int, ...]:
    return value[0] if len(value) == 1 else tuple(value)


def filters(key: str, value: Any) -> list[tuple[int, int, int]]:
    """[[channels, kernel, stride], ...], kernels also as [height, width]."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise wrong(key, value, "expected [[channels, kernel, stride], ...]")
    found = []
    for layer in value:
        if not isinstance(layer, Sequence) or isinstance(layer, str):
            raise wrong(key, value, "expected [[channels, kernel, stride], ...]")
        sizes = [x[0] if isinstance(x, Sequence) and not isinstance(x, str) and len(set(x)) == 1 else x for x in layer]
        if len(sizes) != 3 or not all(type(x) is int and x > 0 for x in sizes):
            raise wrong(key, layer, "expected [channels, kernel, stride] with a square kernel and stride")
        found.append((sizes[0], sizes[1], sizes[2]))
    return found


def convolutions(value: Sequence[tuple[int, int, int]] | None, given: Given) -> Any:
    if not value:
        return SKIP
    names = ("network.conv_channels", "network.conv_kernels", "network.conv_strides")
    return dict(zip(names, zip(*value, strict=True), strict=True))


def torso(key: str, value: Any) -> str | None:
    """The name of a torch module that other processes can import it by."""
    if value is None or (isinstance(value, str) and ":" in value):
        return value
    found = registered_with_tune("rllib_model", value) if isinstance(value, str) else value
    if found is None:
        raise wrong(key, value, "no such model is registered; expected a torch.nn.Module class, or module:Class")
    from ray.rllib.models.modelv2 import ModelV2

    if isinstance(found, type) and issubclass(found, ModelV2):
        raise wrong(
            key,
            found.__name__,
            "a model of RLlib's old kind; make it a torso: a torch.nn.Module with __init__(self, spec, config) that "
            "sets self.num_features, and forward(self, observations [B, S, *F]) that gives features [B, num_features], "
            "what forward() returned as the first of two. The head for Q-values is added to it (docs/agents.md)",
        )
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise wrong(key, found, "expected a torch.nn.Module class")
    return dotted_name(found, f"ApexDQNConfig: {key}")


# Learner and evaluation


def workers(value: int, given: Given) -> int:
    return max(value, 1)


def of_all_workers(value: int | None, given: Given) -> Any:
    return SKIP if value is None else batch_size(given)


def device(value: Any, given: Given) -> str:
    gpus = 0 if given("_fake_gpus") else max(given("num_gpus"), given("num_gpus_per_learner"))
    if gpus > 1:
        raise wrong(
            "num_gpus, num_gpus_per_learner",
            gpus,
            "a learner uses one GPU; expected at most 1, and num_learners for more",
        )
    return "auto" if gpus else "cpu"


def episodes(key: str, value: Any) -> Any:
    if value != "episodes":
        raise wrong(key, value, "an evaluation plays whole episodes; expected 'episodes'")
    return value


def greedy(key: str, value: Any) -> Any:
    if value is not False:
        raise wrong(key, value, "an evaluation is greedy; expected False, or set evaluation.epsilon by apex()")
    return value


def evaluation_envs(value: int, given: Given) -> Any:
    if value == 0:
        return SKIP
    return value * (given("evaluation_config.num_envs_per_env_runner") or given("num_envs_per_env_runner"))


def seed(value: int | None, given: Given) -> int:
    return secrets.randbelow(2**31) if value is None else value


def max_restarts(value: Any, given: Given) -> int:
    count: int = given("max_num_env_runner_restarts") if given("restart_failed_env_runners") else 0
    return count


def callbacks(key: str, value: Any) -> Any:
    """A class, or several."""
    found = value if isinstance(value, list | tuple) else [value]
    if value is not None and not all(callable(c) for c in found):
        raise wrong(key, value, "expected a class of ray.rllib.callbacks.callbacks.RLlibCallback, or several")
    return value


def one_policy(key: str, value: Any) -> Any:
    if value is None:
        return value
    if not isinstance(value, Collection) or isinstance(value, str):
        raise wrong(key, value, "expected a mapping of policies by their names, or None")
    if set(value) not in (set(), {"default_policy"}):
        raise wrong(key, sorted(map(str, value)), "multi_agent is not here: one agent learns from one environment")
    return value
