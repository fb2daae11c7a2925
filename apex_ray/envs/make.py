"""From a configuration to environments, with mistakes found before anything else starts."""

from __future__ import annotations

import importlib

import ale_py
import gymnasium
import numpy as np

from apex_ray.config.schema import EnvConfig
from apex_ray.envs import atari
from apex_ray.envs.base import VectorEnv
from apex_ray.envs.gym import GymEnvs
from apex_ray.types import EnvSpec
from cluster.errors import UserError, did_you_mean


def make_envs(config: EnvConfig, num_envs: int, threads: int = 1, render: bool = False) -> VectorEnv:
    """`num_envs` environments stepped together. UserError for an id or a module that is not there.

    `threads` are ALE's; other environments are stepped one after the other. With `render`, pictures can be had.
    """
    for module in config.import_modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise UserError(f"env.import_modules: no module {module!r} ({error})") from None
    if config.id.startswith(atari.PREFIX):
        return atari.AtariEnvs(config, num_envs, threads)
    gymnasium.register_envs(ale_py)
    if config.id not in gymnasium.registry:
        raise UserError(f"env.id = {config.id!r} is not registered with Gymnasium.{_nearest(config.id)}")
    return GymEnvs(config, num_envs, render)


def _nearest(env_id: str) -> str:
    """The nearest id; a bare or old game name ('Pong', 'PongNoFrameskip-v4') means ALE's."""
    game = env_id.split("-")[0].removesuffix("NoFrameskip").removesuffix("Deterministic").lower()
    for known in atari.games():
        if known[len(atari.PREFIX) :].split("-")[0].lower() == game:
            return f" Did you mean {known!r}?"
    return did_you_mean(env_id, gymnasium.registry)


def probe(config: EnvConfig) -> EnvSpec:
    """Make one environment, take one step, close it: what the run needs to know, or a UserError within seconds."""
    try:
        envs = make_envs(config, 1)
        envs.reset(0)
        envs.send(np.zeros(1, np.int64))
        envs.recv()
        envs.close()
    except UserError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
        raise UserError(f"env.id = {config.id!r} can't be used: {type(error).__name__}: {reason}") from error
    return envs.spec
