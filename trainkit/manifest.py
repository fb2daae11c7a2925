"""manifest.json: the SHA-256 of each file in a folder, so that a damaged one is found before it is used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trainkit.errors import UserError
from trainkit.files import atomic_write

MANIFEST = "manifest.json"


class DamagedError(UserError):
    """A file is not as it was written."""


def seal(folder: Path, files: Mapping[str, str] | None = None) -> None:
    """Write the manifest of `files`, the SHA-256 of each by its name (None: of all in `folder`).

    It is the last thing before the folder counts as whole.
    """
    if files is None:
        files = {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    content = {"sha256": files, "sha256_of_these": _of_all(files)}
    atomic_write(folder / MANIFEST, (json.dumps(content, indent=1) + "\n").encode())


def check(folder: Path, names: Iterable[str]) -> None:
    """DamagedError, with the file's name, unless the files `names` in `folder` are as they were sealed.

    UserError for one that is there and can't be read, which is no damage.
    """
    sealed = sealed_files(folder)
    for name in names:
        if name not in sealed:
            raise DamagedError(f"{name} is not in {MANIFEST}")
        try:
            same = sha256(folder / name) == sealed[name]
        except FileNotFoundError:
            raise DamagedError(f"{name} is missing") from None
        except OSError as error:
            raise UserError(f"{str(folder / name)!r} cannot be read: {error.strerror or error}") from None
        if not same:
            raise DamagedError(f"{name} is not as it was written: its SHA-256 is not that in {MANIFEST}")


def sealed_files(folder: Path) -> dict[str, str]:
    """The SHA-256 in the manifest of each file by its name. DamagedError without a manifest that reads."""
    try:
        return listed((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise DamagedError(f"{MANIFEST} is missing: it was not written to its end, or by an earlier version") from None
    except OSError as error:
        raise UserError(f"{str(folder / MANIFEST)!r} cannot be read: {error.strerror or error}") from None


def listed(manifest: bytes) -> dict[str, str]:
    """The SHA-256 of each file by its name. DamagedError for what is not as a manifest was written."""
    try:
        found: Any = json.loads(manifest)
        sealed = found["sha256"]
        if not sealed or found["sha256_of_these"] != _of_all(sealed):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DamagedError(f"{MANIFEST} is not as it was written") from None
    return dict(sealed)


def _of_all(sealed: Mapping[str, str]) -> str:
    return hashlib.sha256("".join(f"{name} {value}\n" for name, value in sealed.items()).encode()).hexdigest()


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
