"""ApexDQNConfig: RLlib's way to configure Ape-X, with the names that it had when Ape-X was in RLlib."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Self

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided

from apex_ray.config.schema import ApexConfig
from apex_ray.rllib.old_names import NESTED, OLD_NAMES, present_name
from apex_ray.rllib.settings import BY_NAME, check_own, no_key, to_settings
from apex_ray.rllib.values import mapping, wrong
from apex_ray.run.own_parts import with_own_parts

UNSET = -1  # what AlgorithmConfig gives names that it no longer knows
TUNES_OWN = "__"  # how keys begin that Tune adds to a trial's dict, such as __trial_info__
STACKS = ("enable_rl_module_and_learner", "enable_env_runner_and_connector_v2")
SECTIONS = (
    "environment", "env_runners", "training", "learners", "evaluation", "reporting", "debugging", "fault_tolerance",
    "callbacks", "rl_module", "checkpointing", "resources", "framework", "multi_agent", "offline_data", "experimental",
    "python_environment",
)  # fmt: skip
# Defaults of RLlib 2.8's ApexDQNConfig, and of the DQNConfig below it, where AlgorithmConfig's are others.
DEFAULTS: dict[str, Any] = {
    "num_gpus": 1,
    "num_env_runners": 32,
    "max_requests_in_flight_per_env_runner": 2,
    "rollout_fragment_length": 50,
    "exploration_config": {"type": "PerWorkerEpsilonGreedy"},
    "lr": 5e-4,
    "lr_schedule": None,
    "adam_epsilon": 1e-8,
    "grad_clip": 40.0,
    "train_batch_size": 512,
    "n_step": 3,
    "double_q": True,
    "dueling": True,
    "hiddens": [256],
    "noisy": False,
    "sigma0": 0.5,
    "num_atoms": 1,
    "v_min": -10.0,
    "v_max": 10.0,
    "tau": 1.0,
    "td_error_loss_fn": "huber",
    "before_learn_on_batch": None,
    "categorical_distribution_temperature": 1.0,
    "burn_in_len": 0,
    "epsilon": None,
    "training_intensity": 1,
    "target_network_update_freq": 500_000,
    "num_steps_sampled_before_learning_starts": 50_000,
    "store_buffer_in_checkpoints": False,
    "replay_buffer_config": {
        "type": "MultiAgentPrioritizedReplayBuffer",
        "capacity": 2_000_000,
        "prioritized_replay_alpha": 0.6,
        "prioritized_replay_beta": 0.4,
        "prioritized_replay_eps": 1e-6,
        "no_local_replay_buffer": True,
        "replay_buffer_shards_colocated_with_driver": True,
        "worker_side_prioritization": True,
    },
    "optimizer": {"num_replay_buffer_shards": 4, "max_weight_sync_delay": 400, "debug": False},
    "max_requests_in_flight_per_replay_worker": float("inf"),
    "timeout_s_sampler_manager": 0.0,
    "timeout_s_replay_manager": 0.0,
    "evaluation_config": {"explore": False},
    "min_time_s_per_iteration": 30,
    "min_sample_timesteps_per_iteration": 25_000,
    "horizon": None,
    "soft_horizon": False,
    "no_done_at_end": False,
    "logger_creator": None,
    "logger_config": None,
}


class ApexDQNConfig(AlgorithmConfig):  # type: ignore[misc]
    """RLlib's configuration of Ape-X DQN, for `ApexDQN`; `keys.py` says what each key becomes.

    The sections are RLlib's (`.environment()`, `.training()`, ...), also those that it gave up (`.rollouts()`,
    `.exploration()`); they take names of today and of old. `.apex()` takes what only apex-ray has. UserError for a key
    that there is not, as soon as it is given; for values, by `to_settings`, which a build begins with.
    """

    def __init__(self, algo_class: type | str | None = None) -> None:
        super().__init__(algo_class=algo_class or _algorithm())
        for name, value in DEFAULTS.items():
            super().__setattr__(name, copy.deepcopy(value))
        self.own_settings: dict[str, Any] = {}
        self.own_parts: dict[str, Any] = {}
        self.run_settings: ApexConfig | None = None

    # Setting keys

    def __setattr__(self, key: str, value: Any) -> None:
        name = present_name(key)
        if name == key:
            super().__setattr__(key, value)
        elif not (isinstance(value, int) and value == UNSET):
            self._assign(name, value)

    def __setitem__(self, key: str, value: Any) -> None:
        self._assign(present_name(key), value)

    def _assign(self, name: str, value: Any) -> None:
        """`name` as of today, that of a mapping's part after a dot, or of a setting of apex-ray's."""
        owner, dot, part = name.partition(".")
        if name in STACKS:
            return  # both of RLlib's stacks are the same here
        if owner in NESTED:
            self._merge(owner, {part: value} if dot else value)
        elif dot:
            self.apex({name: value})
        elif name not in vars(self) and name not in BY_NAME:
            raise no_key(name, (*vars(self), *OLD_NAMES))
        else:
            super().__setattr__(name, value)

    def _merge(self, owner: str, given: Any) -> None:
        """Keys of a mapping are updated one by one, as in RLlib while a buffer's or an exploration's type stays."""
        if dataclasses.is_dataclass(given) and not isinstance(given, type):
            blank = type(given)()
            given = {k: v for k, v in vars(given).items() if v != getattr(blank, k)}
        if given is None:  # what dict.update() gave, where a program set keys that way
            return
        if not isinstance(given, Mapping) or "grid_search" in given:
            super().__setattr__(owner, given)  # a search space, or a mistake: said when it is read
            return
        before = getattr(self, owner, None)
        merged = dict(before) if isinstance(before, Mapping) else {}
        for part, value in given.items():
            name = present_name(f"{owner}.{part}")
            if name.startswith(f"{owner}."):
                merged[name.removeprefix(f"{owner}.")] = value
            else:
                self._assign(name, value)
        super().__setattr__(owner, merged)

    def _take(self, given: Mapping[str, Any]) -> Self:
        """Keys of a section, by today's names or old ones."""
        for key, value in given.items():
            if value is not NotProvided:
                self._assign(f"callbacks_{key}" if key.startswith("on_") else present_name(key), value)
        return self

    def apex(self, settings: Mapping[str, Any] | None = None, **parts: Callable[..., Any] | str) -> Self:
        """What only apex-ray has: settings by dotted keys, such as {"learner.bf16": "auto"}, and the parts that
        `apex_ray.train` takes: make_env, agent, objective, torso. They come after everything else.
        """
        check_own(settings or {})
        self.own_settings = {**self.own_settings, **(settings or {})}
        self.own_parts = {**self.own_parts, **parts}
        return self

    def rollouts(self, **given: Any) -> Self:
        return self._take(given)

    def exploration(self, explore: Any = NotProvided, exploration_config: Any = NotProvided) -> Self:
        return self._take({"explore": explore, "exploration_config": exploration_config})

    def api_stack(self, *args: Any, **given: Any) -> Self:
        """Both of RLlib's stacks are the same here."""
        return self

    # Dictionaries

    def update_from_dict(self, config_dict: Mapping[str, Any]) -> Self:
        if not isinstance(config_dict, Mapping):
            raise wrong("a configuration", config_dict, "expected a mapping of keys")
        for key, value in config_dict.items():
            if not isinstance(key, str):
                raise no_key(key, (*vars(self), *OLD_NAMES))
            name = present_name(key)
            if key.startswith(TUNES_OWN):
                continue
            if key == "multiagent":
                self._take(mapping(key, value))
            else:
                self._assign(name, value)
        return self

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any]) -> Self:
        if not isinstance(config_dict, Mapping):
            raise wrong("a configuration", config_dict, "expected a mapping of keys")
        return cls().update_from_dict({key: value for key, value in config_dict.items() if key != "_is_frozen"})

    @classmethod
    def overrides(cls, **given: Any) -> dict[str, Any]:
        """These keys by today's names, as for `evaluation_config`. UserError for an unknown key."""
        for key in given:
            if present_name(key).partition(".")[0] not in _defaults():
                raise no_key(key, (*_defaults(), *OLD_NAMES))
        return {present_name(key): value for key, value in given.items()}

    @staticmethod
    def _translate_special_keys(key: str, warn_deprecated: bool = True) -> str:
        return present_name(key)

    def __getitem__(self, item: str) -> Any:
        return self.get(item) if "." in present_name(item) else getattr(self, present_name(item))

    def __contains__(self, item: str) -> bool:
        return self.get(item, NotProvided) is not NotProvided

    def get(self, key: str, default: Any = None) -> Any:
        owner, dot, part = present_name(key).partition(".")
        return getattr(self, owner, {}).get(part, default) if dot else getattr(self, owner, default)

    # Use

    @classmethod
    def of_run(cls, settings: ApexConfig) -> Self:
        """For a run with these settings, such as a checkpoint's; its keys say only how long an iteration is."""
        made = cls()
        made.run_settings = settings
        return made

    def to_settings(self) -> ApexConfig:
        """The settings of a run. UserError for the first thing that can't be honoured, by its name."""
        if self.run_settings is not None:
            return self.run_settings
        values = dict(vars(self))
        if self.env is None and "make_env" in self.own_parts:
            values["env"] = "make_env"  # `with_own_parts` names it
        return with_own_parts(to_settings(values, _defaults(), self.own_settings), self.own_parts)

    def validate(self) -> None:
        """UserError for what can't be honoured."""
        if not self.in_evaluation:
            self.to_settings()

    def build_algo(self, env: Any = None, use_copy: bool = True, logger_creator: Any = None) -> Any:
        if env is not None:
            self.env = env
        self.validate()
        more = {} if logger_creator is None else {"logger_creator": logger_creator}
        if more and not isinstance(self.algo_class, str):
            return self.algo_class(config=self.copy(copy_frozen=False) if use_copy else self, **more)
        return super().build_algo(use_copy=use_copy)

    def build(self, env: Any = None, logger_creator: Any = None, use_copy: bool = True) -> Any:
        return self.build_algo(env, use_copy, logger_creator)


def _section(name: str) -> Callable[..., ApexDQNConfig]:
    base = getattr(AlgorithmConfig, name)

    def section(self: ApexDQNConfig, *args: Any, **given: Any) -> ApexDQNConfig:
        positional = list(inspect.signature(base).parameters)[1 : 1 + len(args)]
        if len(args) > len(positional):
            raise wrong(f"{name}()", args, "expected keys with values, such as lr=1e-4")
        return self._take({**dict(zip(positional, args, strict=True)), **given})

    section.__name__, section.__doc__ = name, f"RLlib's section; see `{name}` of its AlgorithmConfig, and keys.py."
    return section


# Of AlgorithmConfig, which gives them more than what was set.
_PROPERTIES = ("model_config", "rl_module_spec", "learner_class", "train_batch_size_per_learner")


def _alias(name: str) -> property:
    return property(
        lambda self: self.get(name), lambda self, value: self.__setattr__(name, value), doc=f"Now {present_name(name)}."
    )


for _name in SECTIONS:
    setattr(ApexDQNConfig, _name, _section(_name))
for _name in set(OLD_NAMES) - set(SECTIONS) - set(_PROPERTIES):  # framework and callbacks are sections too
    setattr(ApexDQNConfig, _name, _alias(_name))


def _algorithm() -> Any:
    """ApexDQN, which needs this class in turn."""
    return importlib.import_module("apex_ray.rllib.algorithm").ApexDQN


@cache
def _defaults() -> dict[str, Any]:
    """The attributes of a configuration that nobody has changed."""
    return dict(vars(ApexDQNConfig()))
