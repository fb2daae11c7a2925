"""The one exception for mistakes that a user can correct, and the nearest-name helper its messages use."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

# The extra of apex-ray that brings a module which a plain install leaves out.
EXTRAS = {
    "librosa": "audio",
    "minatar": "minatar",
    "pandas": "lstm",
    "pyarrow": "store",
    "soundfile": "audio",
    "stable_retro": "retro",
}


class UserError(Exception):
    """A mistake in the configuration, the environment, a file or the machine's set-up.

    Command lines print its message without a traceback and exit with code 2. The message names the file or key, the
    value, what was expected and, where there is one, the nearest valid name.
    """


class NotWrittenError(UserError):
    """A file is not written, for want of room or since it must not be; what was there before is as it was."""


def first_line(error: BaseException) -> str:
    """Of its message, or its class where it has none that can be had, for a line of ours."""
    try:
        text = str(error)
    except Exception:  # a __str__ of somebody's own
        text = ""
    return (text.strip().splitlines() or [type(error).__name__])[0]


def with_kind(error: BaseException) -> str:
    """Its class and the first line of its message: 'ValueError: no such lever'."""
    kind, line = type(error).__name__, first_line(error)
    return kind if line == kind else f"{kind}: {line}"


def not_installed(module: str) -> UserError:
    """The error for a module of `EXTRAS` that can't be imported."""
    return UserError(f"{module} is not installed; expected pip install 'apex-ray[{EXTRAS[module]}]'")


def optional(module: str, message: str | None = None) -> Any:
    """A module that need not be installed. UserError where it is not: `message`; None: which of `EXTRAS` brings it."""
    try:
        return import_module(module)
    except ImportError:
        raise (UserError(message) if message else not_installed(module)) from None


@contextmanager
def os_errors(message: str, rest: str = "", kind: type[UserError] = UserError) -> Iterator[None]:
    """An OSError of the block as one of `kind`: `message`, the system's reason, `rest`."""
    try:
        yield
    except OSError as error:
        raise kind(f"{message}: {error.strerror or error}{rest}") from None


def did_you_mean(name: str, valid: Iterable[str], cutoff: float = 0.5) -> str:
    """' Did you mean X?' with the valid name nearest to `name`, or '' when none is near."""
    matches = difflib.get_close_matches(name, list(valid), n=1, cutoff=cutoff)
    return f" Did you mean {matches[0]!r}?" if matches else ""
