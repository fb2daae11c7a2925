"""Environments of the user's own: where their modules are found, and how what a script registers reaches the actors."""

from __future__ import annotations

import dataclasses
import os
import sys
from importlib.metadata import entry_points

import cloudpickle
import gymnasium

from apex_ray.config.schema import EnvConfig
from apex_ray.dotted import ELSEWHERE, MAIN, import_module, look_in, of_main
from apex_ray.types import OwnCode
from trainkit.errors import UserError, with_kind


def import_modules(config: EnvConfig) -> str:
    """Import what `config` names, from the current folder too; returns the id without the module before its colon.

    UserError for a module that is not there or does not import.
    """
    look_in([os.getcwd()])
    for module in config.import_modules:
        import_module(module, "env.import_modules")
    module, colon, name = config.id.rpartition(":")
    if colon:
        import_module(module, f"env.id = {config.id!r}")
    return name


def register_installed(env_id: str) -> None:
    """Let the installed packages that say so (entry points of `gymnasium.envs`) register their environments.

    Only those whose name begins the id: importing all of them would take time, and may fail.
    """
    if env_id in gymnasium.registry:
        return
    for point in entry_points(group="gymnasium.envs"):
        if point.name.lower() in (env_id.partition("/")[0].lower(), "__root__"):
            point.load()()


def packed(env_id: str) -> OwnCode:
    """What another process needs to make the registered environment `env_id`, as it is known in this one, and a
    script's own objects that settings name.
    """
    path = tuple(os.path.abspath(p) for p in sys.path)
    spec = gymnasium.registry.get(env_id)
    if spec is not None and isinstance(spec.entry_point, str) and spec.entry_point.startswith(f"{MAIN}:"):
        # Another process has another __main__: the class itself is sent.
        name = spec.entry_point.partition(":")[2]
        spec = dataclasses.replace(spec, entry_point=getattr(sys.modules[MAIN], name))
    try:
        objects = cloudpickle.dumps(of_main)
    except Exception as error:  # pickle raises whatever an object's own code does
        raise UserError(
            f"{', '.join(of_main)}: can't be sent to other processes ({with_kind(error)}); put it into a "
            f"module; {ELSEWHERE}"
        ) from error
    try:
        return OwnCode(path, cloudpickle.dumps(spec), objects)
    except Exception as error:
        return OwnCode(path, of_main=objects, trouble=with_kind(error))


def unpack(env_id: str, code: OwnCode | None) -> None:
    """Make an environment of another process known in this one. UserError when that can't be."""
    if code is None:
        return
    look_in(code.path)
    hint = f"put it into a module that registers it and name that, env.id=module:{env_id}; {ELSEWHERE}"
    known = env_id in gymnasium.registry
    if code.trouble and not known:
        raise UserError(
            f"env.id = {env_id!r}: its registration can't be sent to other processes ({code.trouble}); {hint}"
        )
    try:
        of_main.update(cloudpickle.loads(code.of_main) if code.of_main else {})
        if not known and (spec := cloudpickle.loads(code.spec)) is not None:
            gymnasium.registry[env_id] = spec
    except ImportError as error:
        raise UserError(f"env.id = {env_id!r}: its code is not on this machine ({error}); {hint}") from error
