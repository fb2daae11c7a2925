"""What is slow to make from a file, kept until the file changes: decoded sound, frames."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainkit.errors import os_errors

CACHE = "APEX_CACHE"  # environment variable: where it is kept
Kept = npt.NDArray[Any]


def kept(room: str, path: Path, made_with: str, make: Callable[[], Kept], must: bool = False) -> Kept:
    """`make()`, or what it gave before of the file at `path`, as that is now, and by the same `made_with`.

    `room` is the folder for things of this kind. What `make` raises goes on to the caller. A cache that can't be
    written costs time and nothing else, but for what `must` be kept, as it is asked for again and again: UserError.
    """
    state = path.stat()
    facts = f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}|{made_with}"
    file = _folder() / room / f"{hashlib.sha256(os.fsencode(facts)).hexdigest()[:32]}.npy"
    with suppress(OSError, ValueError, EOFError):  # none, or a power cut left half of it
        found: Kept = np.load(file, allow_pickle=False)
        return found
    made = make()
    rest = f"; expected room there, or another folder as {CACHE}"
    told = os_errors(f"{file.parent} can't be written, where {room} are kept", rest)
    with told if must else suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}.npy")
        np.save(partial, made)
        partial.replace(file)
    return made


def _folder() -> Path:
    base = os.environ.get(CACHE) or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "apex-ray"
    return Path(base).expanduser()
