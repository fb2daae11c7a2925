"""The user's own code by name: modules from the current folder too, and objects as 'package.module:name'."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trainkit.errors import UserError, did_you_mean, with_kind

MAIN = "__main__"
ELSEWHERE = (
    "on a cluster, send its folder along (apex-cluster submit, ray job submit --working-dir) or install it there"
)
# A script's own objects by name: another process has another __main__, so they are sent there (envs/own_code.py).
of_main: dict[str, Any] = {}


def look_in(folders: Iterable[str]) -> None:
    """Import from these folders too, after all others: nothing in them hides an installed package."""
    sys.path += [f for f in folders if f not in sys.path and os.path.exists(f)]
    importlib.invalidate_caches()


def import_module(name: str, key: str) -> Any:
    """The module `name`, which the setting `key` asks for. UserError where it is not there or does not import."""
    look_in([os.getcwd()])
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise UserError(f"{key}: module {name!r} needs {error.name!r}, which is not installed ({error})") from error
        here = [p.stem for p in Path.cwd().glob("*.py")]
        raise UserError(
            f"{key}: no module {name!r} ({error}); looked in the current folder {os.getcwd()!r}, in PYTHONPATH and "
            f"among what is installed; {ELSEWHERE}.{did_you_mean(name, here)}"
        ) from error
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{key}: module {name!r} does not import: {with_kind(error)}") from error


def imported(dotted: str, key: str) -> Any:
    """The object 'package.module:name', which the setting `key` names. UserError where it is not there."""
    if dotted in of_main:
        return of_main[dotted]
    module, _, name = dotted.partition(":")
    if not module or not name:
        raise UserError(f"{key} = {dotted!r}: expected package.module:name")
    if module == MAIN and not hasattr(sys.modules[MAIN], name):
        raise UserError(f"{key} = {dotted!r} was in the script that began the run; expected package.module:name")
    found = import_module(module, f"{key} = {dotted!r}")
    if not hasattr(found, name):
        hint = did_you_mean(name, [n for n in vars(found) if not n.startswith("_")])
        raise UserError(f"{key} = {dotted!r}: module {module!r} has no {name!r}.{hint}")
    return getattr(found, name)


def dotted_name(given: Any, key: str) -> str:
    """What `imported` finds `given` by: a name already, or a function or class that stands in a module by its name.

    UserError for any other object.
    """
    if isinstance(given, str):
        return given
    module, name = getattr(given, "__module__", None), getattr(given, "__qualname__", "")
    if module is None or getattr(sys.modules.get(module), name, None) is not given:
        raise UserError(
            f"{key} = {given!r}: expected a function or class of a module, which other processes can import, or "
            "its name as package.module:name"
        )
    dotted = f"{module}:{name}"
    if module == MAIN:
        of_main[dotted] = given
    return dotted
