"""Folders for what libraries keep between runs, for users whose home can't be written: those of containers, mostly.

numba compiles for a cache beside the sources or in the user's home and gives up where it may write neither; matplotlib
warns; whoever asks for the home of a user that the machine doesn't know gets an exception. They are told of a temporary
folder of the user's own instead, by environment variables, before they are imported: each of our packages does it as it
is imported, so that the workers of a cluster do too, which inherit nothing from their run's process.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

CACHES = {"NUMBA_CACHE_DIR": "numba", "MPLCONFIGDIR": "matplotlib"}


def settle() -> None:
    """Set what is missing in this process's environment, and nothing where the home can be written."""
    try:
        home = Path.home()
    except RuntimeError:  # HOME is not set, and the user has no entry that says it
        home = own_temporary_folder()
        os.environ["HOME"] = str(home)
    base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    missing = [name for name in CACHES if name not in os.environ]
    if missing and not can_write(base):
        folder = own_temporary_folder()
        os.environ.update({name: str(folder / CACHES[name]) for name in missing})


def can_write(path: Path) -> bool:
    """Whether this user may write there, or make it where it is not there yet."""
    there = next(p for p in (path, *path.absolute().parents) if os.path.exists(p))
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def own_temporary_folder() -> Path:
    """/tmp/apex-ray-cache-UID, kept for the next run; a new one where that is somebody else's.

    Whoever can write there can have this user run code: numba's cached kernels are.
    """
    folder = Path(tempfile.gettempdir()) / f"apex-ray-cache-{os.getuid()}"
    with suppress(FileExistsError):  # of what is no folder
        folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.lstat()
    private = stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o022
    return folder if private else Path(tempfile.mkdtemp(prefix="apex-ray-cache-"))
