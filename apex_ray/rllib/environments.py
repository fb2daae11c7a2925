"""Which environment a configuration of RLlib's means: an id, a registered name, a class, or a function."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import gymnasium
from ray.rllib.env.env_context import EnvContext
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from ray.tune import register_env

from apex_ray.dotted import dotted_name, imported
from apex_ray.envs.atari import PREFIX, games
from apex_ray.rllib.contents import contents
from apex_ray.rllib.values import flag, number, whole, wrong
from cluster.ray_private import registered_with_tune
from trainkit.errors import UserError, first_line

MAKE = f"{__name__}:made"
REGISTERED = "registered:"  # before a name of tune.register_env
ALE_STICKY = 0.25  # repeat_action_probability of ALE's own environments, where nobody says otherwise
OLD_ATARI = re.compile(r"(?P<game>\w+?)(?P<ram>-ram)?(?P<kind>NoFrameskip|Deterministic)?-v(?P<version>[04])")
SKIPS = {"NoFrameskip": 1, "Deterministic": 4}
RAM, RAM_ID = "ram", re.compile(r"(?P<game>ALE/\w+)-ram-v5")
_CREATORS: dict[str, Callable[..., Any]] = {}  # of names that Tune's registry has known in this process


class Game(NamedTuple):
    """Of Atari, by any of its names."""

    id: str  # ALE's
    sticky: float  # how often its own environment repeats an action
    ram: bool = False  # whether its memory is observed
    skip: int | None = 4  # frames of a step where nobody says otherwise; None: 2 to 4 of them, at random


class Environment(NamedTuple):
    settings: dict[str, Any]  # dotted
    atari: bool


def environment(
    env: Any, env_config: Mapping[str, Any], horizon: int | None, framestack: bool, evaluation: Mapping[str, Any]
) -> Environment:
    """The settings for `env` with `env_config`, and for its evaluations with what differs in `evaluation`.

    UserError for one that can't be had.
    """
    if env is None:
        raise wrong("env", env, "no environment is set; expected .environment(env=...)")
    if isinstance(env, str) and registered(env) is None:
        if game := _atari(env):
            if game.ram or env_config.get("obs_type") == RAM:
                return _ram(env, game, env_config, horizon, evaluation)
            return _game(game.id, game.sticky, env_config, horizon, framestack, evaluation)
        if not _is_path(env):
            limit = {} if horizon is None else {"max_episode_steps": horizon}
            settings = {"env.id": env, "env.kwargs": {**env_config, **limit}, "evaluation.env_kwargs": dict(evaluation)}
            return Environment({**settings, "env.frame_stack": 1}, atari=False)
    return Environment(_own(env, env_config, horizon, evaluation), atari=False)


# Atari's games


def _atari(env: str) -> Game | None:
    bare = env.rpartition(":")[2]
    if of_ram := RAM_ID.fullmatch(bare):
        return Game(f"{of_ram['game']}-v5", ALE_STICKY, ram=True)
    if bare.startswith(PREFIX):
        return Game(bare, ALE_STICKY)
    old = OLD_ATARI.fullmatch(bare)
    if old is None or (wanted := f"{PREFIX}{old['game']}-v5") not in games():
        return None
    sticky = ALE_STICKY if old["version"] == "0" else 0.0
    return Game(wanted, sticky, ram=old["ram"] is not None, skip=SKIPS.get(old["kind"]))


def _ram(
    env: str, game: Game, env_config: Mapping[str, Any], horizon: int | None, evaluation: Mapping[str, Any]
) -> Environment:
    """A game's 128 bytes as they are: RLlib preprocessed pictures only, so no life ends an episode either."""
    given, place = dict(env_config), "env_config."
    if given.pop("obs_type", RAM) != RAM:
        raise wrong(f"{place}obs_type", env_config["obs_type"], f"{env} gives its memory; expected 'ram'")
    skip = given.pop("frameskip", game.skip)
    if skip is None:
        raise wrong("env", env, "skips 2 to 4 frames at random; expected env_config with a frameskip, such as 4")
    frames = whole(1)(f"{place}max_num_frames_per_episode", given.pop("max_num_frames_per_episode", 108_000))
    repeated = given.pop("repeat_action_probability", game.sticky)
    skip = whole(1)(f"{place}frameskip", skip)
    given.pop("render_mode", None)
    if evaluation:
        raise wrong("evaluation_config.env_config", dict(evaluation), "a game of Atari is evaluated as it is learned")
    settings = {
        "env.id": game.id,
        "env.frame_skip": skip,
        "env.sticky_actions": number(least=0, most=1)(f"{place}repeat_action_probability", repeated),
        "env.full_action_space": flag(f"{place}full_action_space", given.pop("full_action_space", False)),
        "env.kwargs": {**given, "obs_type": RAM},
        "env.frame_stack": 1,
        "env.max_episode_frames": frames if horizon is None else horizon * skip,
    }
    return Environment(settings, atari=False)


def _game(
    game: str,
    sticky: float,
    env_config: Mapping[str, Any],
    horizon: int | None,
    framestack: bool,
    evaluation: Mapping[str, Any],
) -> Environment:
    """DQN's preprocessing, which RLlib gave Atari by itself; a lost life ends an episode, in training."""
    given, place = dict(env_config), "env_config."
    skip = whole(1)(f"{place}frameskip", given.pop("frameskip", 4))
    skip = 4 if skip == 1 else skip  # RLlib's own wrapper skips four where ALE skips none
    sticky = number(least=0, most=1)(
        f"{place}repeat_action_probability", given.pop("repeat_action_probability", sticky)
    )
    frames = whole(1)(f"{place}max_num_frames_per_episode", given.pop("max_num_frames_per_episode", 108_000))
    full = flag(f"{place}full_action_space", given.pop("full_action_space", False))
    if given.pop("obs_type", "rgb") not in ("rgb", "grayscale"):
        raise wrong(f"{place}obs_type", env_config["obs_type"], "expected 'rgb' or 'grayscale', gray both, or 'ram'")
    for name in ("render_mode", "sound"):
        given.pop(name, None)
    if evaluation:
        raise wrong("evaluation_config.env_config", dict(evaluation), "a game of Atari is evaluated as it is learned")
    return Environment(
        {
            "env.id": game,
            "env.kwargs": given,
            "env.frame_skip": skip,
            "env.sticky_actions": sticky,
            "env.full_action_space": full,
            "env.terminal_on_life_loss": True,
            "env.frame_stack": 4 if framestack else 1,
            "env.max_episode_frames": frames if horizon is None else horizon * skip,
        },
        atari=True,
    )


# Classes, functions, and names of either


def _is_path(env: str) -> bool:
    """RLlib's way to name a class: package.module.Class."""
    return "." in env and "/" not in env and ":" not in env and gymnasium.registry.get(env) is None


def _own(env: Any, env_config: Mapping[str, Any], horizon: int | None, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(env, str) and registered(env) is not None:
        creator, name = REGISTERED + env, env
    elif isinstance(env, str):
        module, _, name = env.rpartition(".")
        creator = f"{module}:{name}"
        refuse_others(imported(creator, "ApexDQNConfig: env"))
    elif callable(env):
        refuse_others(env)
        name = getattr(env, "__name__", type(env).__name__)
        creator = _named(env, name)
    else:
        raise wrong("env", env, "expected a name, a class or a function that makes a gymnasium.Env")
    if not _plain(env_config):  # a run folder can't keep it: a function or a table, say
        creator, env_config = _registered(partial(_with_objects, creator, dict(env_config)), name), {}
    if not _plain(evaluation):
        expected = "expected numbers, texts, lists and mappings, which a run folder can keep"
        raise wrong("evaluation_config.env_config", dict(evaluation), expected)
    limit = {} if horizon is None else {"env.max_episode_frames": horizon}
    return {
        "env.id": name,
        "env.make": MAKE,
        "env.kwargs": {"creator": creator, "env_config": dict(env_config)},
        "env.frame_stack": 1,
        "evaluation.env_kwargs": {"env_config": {**env_config, **evaluation}} if evaluation else {},
        **limit,
    }


def _named(env: Callable[..., Any], name: str) -> str:
    """What other processes find it by: its place in a module, or in Tune's registry, as for a lambda."""
    try:
        return dotted_name(env, "env")
    except UserError:
        return _registered(env, name)


def _registered(make: Callable[..., Any], name: str) -> str:
    """By a name of what it does, so that a program that goes on with its checkpoint finds it again."""
    try:
        unique = f"{re.sub('[^A-Za-z0-9_]', '', name)}-{contents(make)}"
        register_env(unique, make)
    except Exception as error:  # pickling raises whatever an object's own code does
        raise wrong(
            "env and env_config",
            name,
            f"can't be sent to other processes ({first_line(error)}); expected what can be pickled: open what can't "
            "where the environment is made",
        ) from error
    _CREATORS[unique] = make
    return REGISTERED + unique


def registered(name: str) -> Any:
    """What makes the environment of that name, None where this program has registered none; Tune forgets them with
    each Ray that ends.
    """
    found = registered_with_tune("env_creator", name)
    if found is not None:
        _CREATORS[name] = found
    return _CREATORS.get(name)


def register_again() -> None:
    """Have the Ray that is there, or the next one, know every environment that this program has registered."""
    for name, make in _CREATORS.items():
        if registered_with_tune("env_creator", name) is None:
            register_env(name, make)


def _with_objects(creator: str, objects: Mapping[str, Any], context: Mapping[str, Any]) -> Any:
    return made(creator, {**objects, **context})


def _plain(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False


def refuse_others(env: Any) -> None:
    """UserError for what RLlib knows beside a gymnasium.Env."""
    kind = env if isinstance(env, type) else type(env)
    if issubclass(kind, MultiAgentEnv):
        raise wrong("env", kind.__name__, "multi_agent is not here: one agent learns from one environment")


def made(creator: str, env_config: Mapping[str, Any]) -> Any:
    """The environment, made as RLlib does: by a call with one EnvContext. A worker's number is always 0."""
    if creator.startswith(REGISTERED):
        name = creator.removeprefix(REGISTERED)
        make = registered(name)
        if make is None:
            raise wrong("env", name, "it is not registered in this program; expected tune.register_env before")
    else:
        make = imported(creator, "ApexDQNConfig: env")
    env = make(EnvContext(dict(env_config), worker_index=0))
    refuse_others(env)
    return env
