"""A run's checkpoints as folders: written whole, read from the newest on, set aside where they are damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import TypeVar

from trainkit.errors import NotWrittenError, UserError, os_errors
from trainkit.files import atomic_folder
from trainkit.manifest import DamagedError, seal

T = TypeVar("T")


@contextmanager
def writing(folder: Path) -> Iterator[Path]:
    """Write a checkpoint's files into the empty `folder` in here; they are sealed at the end.

    NotWrittenError, with one message, where there is no room for them.
    """
    with os_errors(f"checkpoint {folder} can't be written", kind=NotWrittenError):
        yield folder
        seal(folder)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """As `writing`, of a folder that becomes the checkpoint `path` when all is written; one that is there goes then."""
    with os_errors(f"checkpoint {path} can't be written", kind=NotWrittenError), atomic_folder(path) as folder:
        yield folder
        seal(folder)


def newest_good(folders: Sequence[Path], read: Callable[[Path], T], none: str) -> tuple[T, dict[Path, str]]:
    """(what `read` gives of the last of `folders` that it does not find damaged, what is wrong with each after it).

    UserError that begins with `none` and names them all, when there is no good one.
    """
    damaged: dict[Path, str] = {}
    for folder in reversed(folders):
        try:
            return read(folder), damaged
        except DamagedError as error:
            damaged[folder] = str(error)
    raise UserError(f"{none}: {'; '.join(f'{path.name}: {why}' for path, why in damaged.items())}")


def set_aside(damaged: Mapping[Path, str], prefix: str) -> dict[Path, Path]:
    """Rename them, so that none counts as a checkpoint; where each is now. UserError where that can't be."""
    where: dict[Path, Path] = {}
    for path, why in damaged.items():
        where[path] = aside = _free(path.with_name(prefix + path.name))
        with os_errors(
            f"checkpoint {path.name} can't be used ({why}), nor renamed to {aside.name}",
            "; expected a run folder that may be written",
        ):
            path.rename(aside)
    return where


def _free(path: Path) -> Path:
    """`path`, with a number behind it where that is taken."""
    numbered = (path.with_name(f"{path.name}-{k}") for k in count(2))
    return next(found for found in chain([path], numbered) if not found.exists())
