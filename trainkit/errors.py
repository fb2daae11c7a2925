"""The one exception for mistakes that a user can correct, and the nearest-name helper its messages use."""

from __future__ import annotations

import difflib
import re
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import PurePosixPath
from sysconfig import get_paths
from typing import Any

TIMED = re.compile(r"-\d{6,}(-.*)?$")  # how a run's name ends, also when it is mistyped
LIBRARIES = tuple(get_paths()[kind] for kind in ("stdlib", "platstdlib", "purelib", "platlib"))  # folders

# The extra of apex-ray that brings a module which a plain install leaves out.
EXTRAS = {
    "espeakng_loader": "speech",
    "librosa": "audio",
    "minatar": "minatar",
    "mlflow": "loggers",
    "music21": "piano",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "pandas": "lstm",
    "pocketsphinx": "speech",
    "pretty_midi": "piano",
    "pyarrow": "store",
    "pykakasi": "speech",
    "ray.rllib": "rllib",
    "ray.tune": "tune",
    "soundfile": "audio",
    "sqlalchemy": "loggers",
    "stable_retro": "retro",
    "wandb": "loggers",
}
# What pip is told where no extra can bring a module: what that depends on would have to be compiled.
APART = {"tinysoundfont": "--no-deps tinysoundfont"}


class UserError(Exception):
    """A mistake in the configuration, the environment, a file or the machine's set-up.

    Command lines print its message without a traceback and exit with code 2. The message names the file or key, the
    value, what was expected and, where there is one, the nearest valid name.
    """


class NotInstalledError(UserError, ImportError):
    """A library that is needed here can't be imported. Python takes it for the ImportError that it is."""


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


def place(error: BaseException, skipped: int = 0) -> str:
    """' (file:line)' of the innermost frame, when the exception still carries its traceback; '' where no more frames
    than the outermost `skipped` have it. Frames of a library count where there are no others: what called it is ours,
    or the user's, to mend.
    """
    frames = traceback.extract_tb(error.__traceback__)[skipped:]
    own = [frame for frame in frames if not frame.filename.startswith((*LIBRARIES, "<"))] or frames
    return f" ({own[-1].filename}:{own[-1].lineno})" if own else ""


def not_installed(module: str, otherwise: str = "") -> NotInstalledError:
    """The error for a module of `EXTRAS` or `APART` that can't be imported; `otherwise`: what does without it."""
    wanted = APART.get(module) or f"'apex-ray[{EXTRAS[module]}]'"
    return NotInstalledError(
        f"{module} is not installed; expected pip install {wanted}{', or ' if otherwise else ''}{otherwise}"
    )


def optional(module: str, otherwise: str = "") -> Any:
    """A module that need not be installed. NotInstalledError where it is not."""
    with needed(module, otherwise):
        return import_module(module)


@contextmanager
def needed(module: str, otherwise: str = "") -> Iterator[None]:
    """An ImportError of the block as what installs `module`."""
    try:
        yield
    except ImportError as error:
        raise not_installed(module, otherwise) from error


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


def nearest_path(path: str, beside: Iterable[str]) -> str:
    """As `did_you_mean`, of paths or URIs in one folder: by their last names alone, since they begin alike, and without
    the time at the end of a run's. Of several runs of a name it is the one of the nearest time, else the last.
    """
    given, there = PurePosixPath(path).stem, {PurePosixPath(found).stem: found for found in beside}
    names = difflib.get_close_matches(_untimed(given), {_untimed(stem) for stem in there}, n=1, cutoff=0.5)
    runs = [stem for stem in there if _untimed(stem) in names]
    if TIMED.search(given):
        runs = difflib.get_close_matches(given, runs, n=1, cutoff=0)
    return f" Did you mean {there[runs[-1]]!r}?" if runs else ""


def _untimed(stem: str) -> str:
    return TIMED.sub("", stem)
