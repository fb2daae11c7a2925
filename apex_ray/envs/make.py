"""From a configuration to environments, with mistakes found before anything else starts."""

from __future__ import annotations

import difflib
import os
import warnings
from contextlib import chdir, closing
from dataclasses import replace

import ale_py
import gymnasium
import numpy as np

from apex_ray.config.plugins import plugin_names, plugin_of, settings_of
from apex_ray.config.schema import EnvConfig
from apex_ray.envs import atari, own_code
from apex_ray.envs.base import Noted, VectorEnv
from apex_ray.envs.checks import OLD_GYM, ended_program
from apex_ray.envs.gym import GymEnvs
from apex_ray.envs.spaces import random_actions
from apex_ray.envs.vector import ENVPOOL, GymVectorEnvs, vector_envs
from apex_ray.types import EnvSpec
from trainkit.errors import UserError, did_you_mean, first_line, optional, with_kind

PROBED_STEPS = 4


def make_envs(
    config: EnvConfig, num_envs: int, threads: int = 1, render: bool = False, in_order: bool = False
) -> VectorEnv:
    """`num_envs` environments stepped together. UserError for an id or a module that is not there, and for code that
    ends the program instead.

    `threads` are ALE's; Gymnasium's environments are stepped one after the other. `render` must be set where pictures
    will be asked for; with `in_order` a plug-in's environments take their starts in turn (config/plugins.py).
    """
    given, bare = config.id, own_code.import_modules(config)
    try:
        return _made(config.model_copy(update={"id": bare}), given, num_envs, threads, render, in_order)
    except SystemExit as error:
        raise ended_program(f"env.id = {given!r}", "while it was made", error) from error


def _made(config: EnvConfig, given: str, num_envs: int, threads: int, render: bool, in_order: bool) -> VectorEnv:
    """`given`: the id with the module before its colon."""
    bare = config.id
    if config.make is None:
        plugin, ram = plugin_of(bare), config.kwargs.get("obs_type") == "ram"
        if (bare.startswith((atari.PREFIX, ENVPOOL)) and not ram) or plugin is not None:
            if config.vector or config.processes:
                what = "vector" if config.vector else "processes"
                raise UserError(f"env.{what} = true has no effect on {bare!r}, which has its own way; expected false")
            if bare.startswith(ENVPOOL):
                return vector_envs(config, num_envs, render)
            if plugin is None:
                return atari.AtariEnvs(config, num_envs, threads)
            complete = config.model_copy(update={"kwargs": settings_of(config)})
            envs: VectorEnv = plugin.make(complete, num_envs, in_order)
            return envs
        _check_registered(given, bare)
        if ram:
            config = atari.of_ram(config)
    if config.vector or config.processes:
        return vector_envs(config, num_envs, render)
    return GymEnvs(config, num_envs, render)


def _check_registered(given: str, bare: str) -> None:
    """UserError for an id that Gymnasium does not know, with or without the module before its colon."""
    gymnasium.register_envs(ale_py)
    own_code.register_installed(bare)
    spec = gymnasium.registry.get(bare)
    if spec is None:
        if bare.startswith("MinAtar/"):
            optional("minatar")
        raise UserError(
            f"env.id = {given!r} is not registered with Gymnasium; one of your own: env.id=module:{bare} imports the "
            f"module that registers it, from the current folder {os.getcwd()!r} or what is installed; plug-ins are "
            f"there for {', '.join(f'{name}/...' for name in plugin_names()) or 'none'}.{_nearest(bare)}"
        )
    if _is_old_atari(bare, spec):
        # Gymnasium's old ids give raw colour screens at their own frame skip: not what is meant by playing Atari.
        sticky = "0.25" if bare.endswith("-v0") else "0.0"
        raise UserError(
            f"env.id = {bare!r} is an old Atari id without preprocessing.{_nearest(bare)} With "
            f"env.sticky_actions={sticky} and DQN's preprocessing, which is the default, it is the same game"
        )


def _nearest(env_id: str) -> str:
    """The nearest id, namespaces aside. A bare or old game name ('Pong-v5', 'PongNoFrameskip-v4') means ALE's."""
    name = env_id.split("/")[-1]
    game = name.split("-")[0].removesuffix("NoFrameskip").removesuffix("Deterministic").lower()
    for known in atari.games():
        if known[len(atari.PREFIX) :].split("-")[0].lower() == game:
            return f" Did you mean {known!r}?"
    usable = {k: k.split("/")[-1] for k, s in gymnasium.registry.items() if not _is_old_atari(k, s)}
    # The whole id first, then without namespaces: 'Countin-v0' is far from 'somebody/Counting-v0' but for those.
    whole = did_you_mean(env_id, usable, cutoff=0.8)
    bare = difflib.get_close_matches(name, usable.values(), n=1)
    if whole or not bare:
        return whole
    return f" Did you mean {next(k for k, v in usable.items() if v == bare[0])!r}?"


def _is_old_atari(env_id: str, spec: gymnasium.envs.registration.EnvSpec) -> bool:
    return str(spec.entry_point).startswith("ale_py") and not env_id.startswith(atari.PREFIX)


def probe(config: EnvConfig, pictures: bool = False) -> EnvSpec:
    """Make one environment, take some steps, close it: what the run needs to know, or a UserError within seconds.

    With `pictures` it also finds out whether the environment draws them; one that doesn't is no mistake.
    """
    try:
        with chdir("."), closing(make_envs(config, 1)) as envs:  # back here when it has gone elsewhere
            observations = envs.reset(0)
            rng = np.random.default_rng(0)
            for _ in range(PROBED_STEPS):
                envs.send(random_actions(envs.spec, rng, observations))
                observations = envs.recv().observations
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"env.id = {config.id!r} can't be used: {_reason(error)}") from error
    notes = list(envs.notes) if isinstance(envs, Noted) else []
    draws = True
    if pictures and isinstance(envs, GymEnvs | GymVectorEnvs) and (trouble := _no_picture(config)):
        notes.append(trouble)
        draws = False
    return replace(envs.spec, own_code=own_code.packed(envs.spec.env_id), notes=tuple(notes), draws=draws)


def _no_picture(config: EnvConfig) -> str:
    """Why a Gymnasium environment draws no pictures; "" when it does."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Gymnasium's, of what is told anyway
            with closing(make_envs(config, 1, render=True)) as envs:
                envs.reset(0)
                envs.render(0)
    except UserError as error:
        return str(error)
    except Exception as error:  # whatever its drawing raises: no screen, a library that is missing
        return f"env.id = {config.id!r} can't draw its pictures ({_reason(error)}), so there can be no video of it"
    return ""


def _reason(error: Exception) -> str:
    # Of a wrapper around an environment whose reset or step gives less, or more, than Gymnasium's.
    old = f". {OLD_GYM}" if isinstance(error, ValueError) and "values to unpack" in first_line(error) else ""
    return f"{with_kind(error)}{old}"
