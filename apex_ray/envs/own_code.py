"""Environments of the user's own: where their modules are found, and how what a script registers reaches the actors."""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import cloudpickle
import gymnasium

from apex_ray.config.schema import EnvConfig
from apex_ray.types import EnvSpec, OwnCode
from cluster.errors import UserError, did_you_mean

ELSEWHERE = (
    "on a cluster, send its folder along (apex-cluster submit, ray job submit --working-dir) or install it there"
)


def import_modules(config: EnvConfig) -> str:
    """Import what `config` names, from the current folder too; returns the id without the module before its colon.

    UserError for a module that is not there or does not import.
    """
    look_in([os.getcwd()])
    for module in config.import_modules:
        _import("env.import_modules", module)
    module, colon, name = config.id.rpartition(":")
    if not colon:
        return config.id
    _import(f"env.id = {config.id!r}", module)
    return name


def look_in(folders: Iterable[str]) -> None:
    """Import from these folders too, after all others: nothing in them hides an installed package."""
    sys.path += [f for f in folders if f not in sys.path and os.path.exists(f)]
    importlib.invalidate_caches()


def _import(key: str, module: str) -> None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise UserError(
                f"{key}: module {module!r} needs {error.name!r}, which is not installed ({error})"
            ) from error
        here = [p.stem for p in Path.cwd().glob("*.py")]
        raise UserError(
            f"{key}: no module {module!r} ({error}); looked in the current folder {os.getcwd()!r}, in PYTHONPATH and "
            f"among what is installed; {ELSEWHERE}.{did_you_mean(module, here)}"
        ) from error
    except UserError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or ["no message"])[0]
        raise UserError(f"{key}: module {module!r} does not import: {type(error).__name__}: {reason}") from error


def packed(env_id: str) -> OwnCode:
    """What another process needs to make the registered environment `env_id`, as it is known in this one."""
    path = tuple(os.path.abspath(p) for p in sys.path)
    spec = gymnasium.registry.get(env_id)
    if spec is None:  # stable-retro's; ALE's are known where envs/atari.py has registered them
        return OwnCode(path)
    if isinstance(spec.entry_point, str) and spec.entry_point.startswith("__main__:"):
        # Another process has another __main__: the class itself is sent.
        name = spec.entry_point.partition(":")[2]
        spec = dataclasses.replace(spec, entry_point=getattr(sys.modules["__main__"], name))
    try:
        return OwnCode(path, cloudpickle.dumps(spec))
    except Exception as error:  # pickle raises whatever an object's own code does
        return OwnCode(path, trouble=f"{type(error).__name__}: {error}")


def unpack(env: EnvSpec) -> None:
    """Make an environment of another process known in this one. UserError when that can't be."""
    env_id, code = env.env_id, env.own_code
    if code is None:
        return
    look_in(code.path)
    if env_id in gymnasium.registry:
        return
    hint = f"put it into a module that registers it and name that, env.id=module:{env_id}; {ELSEWHERE}"
    if code.trouble:
        raise UserError(
            f"env.id = {env_id!r}: its registration can't be sent to other processes ({code.trouble}); {hint}"
        )
    if code.spec is None:
        return
    try:
        gymnasium.registry[env_id] = cloudpickle.loads(code.spec)
    except ImportError as error:
        raise UserError(f"env.id = {env_id!r}: its code is not on this machine ({error}); {hint}") from error
