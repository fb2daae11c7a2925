"""What a run's URI has, brought to its working folder on this machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from trainkit.files import atomic_write
from trainkit.manifest import MANIFEST, DamagedError, listed, sealed_files
from trainkit.storage import Store

NEWEST = ".newest"  # a folder in a working folder: of which shares it has the newest state, and of which start
AGAIN = 3  # times, where a file is deleted as it is fetched: a newer one is there


@dataclass(frozen=True)
class Share:
    """Some files of a run folder, mostly those that one process writes.

    By their paths in it, as patterns of fnmatch ('*' is any text, with '/' too). Those that begin with a dot, or whose
    folder does, and those that end with .partial belong to no share.
    """

    name: str
    sealed: tuple[str, ...] = ()  # folders with a manifest: whole when it is there, and as it says
    files: tuple[str, ...] = ()  # files by themselves
    but: tuple[str, ...] = ()  # of those
    reads: tuple[str, ...] = ()  # other sealed folders that its process reads

    def __contains__(self, path: str) -> bool:
        return self.has_folder(path) or self.has_file(path)

    def has_folder(self, path: str) -> bool:
        return not _hidden(path) and _match(path, self.sealed)

    def has_file(self, path: str) -> bool:
        return not _hidden(path) and _match(path, self.files) and not _match(path, self.but)

    def folders_in(self, run: Path) -> list[str]:
        """Sealed ones on this machine, the newest first."""
        found = [p.parent for pattern in self.sealed for p in run.glob(f"{pattern}/{MANIFEST}")]
        newest_first = sorted(found, key=lambda folder: (folder / MANIFEST).stat().st_mtime_ns, reverse=True)
        names = [folder.relative_to(run).as_posix() for folder in newest_first]
        return [name for name in names if self.has_folder(name)]

    def files_in(self, run: Path) -> list[str]:
        """Those on this machine."""
        names = (path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
        return sorted(name for name in names if self.has_file(name))


def _match(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _hidden(path: str) -> bool:
    return path.endswith(".partial") or any(name.startswith(".") for name in path.split("/"))


def beside(folder: str) -> str:
    """Where a sealed folder that takes another's place lies until it does; once whole, it counts."""
    above, slash, name = folder.rpartition("/")
    return f"{above}{slash}.{name}.new"


def sealed_in(files: Iterable[str], share: Share) -> dict[str, str]:
    """Of the files of a store: where each whole sealed folder of a share lies, by its name."""
    with_manifest = {name.removesuffix(f"/{MANIFEST}") for name in files if name.endswith(f"/{MANIFEST}")}
    names = {folder: folder for folder in with_manifest if share.has_folder(folder)}
    for folder in with_manifest:
        above, slash, last = folder.rpartition("/")
        if last.startswith(".") and last.endswith(".new") and share.has_folder(name := f"{above}{slash}{last[1:-4]}"):
            names[name] = folder
    return names


def fetch(store: Store, run: Path, share: Share, newest: Callable[[str], bool] = lambda path: False) -> None:
    """Have what the store has of `share` in the working folder `run`; OSError where that fails.

    Sealed folders that the store does not have, or not as they are here, go. Of what `newest` says that it is newest
    here, only what lacks is fetched.
    """
    for left in reversed(range(AGAIN)):
        try:
            _fetch(store, run, share, newest)
            return
        except FileNotFoundError:
            if not left:
                raise


def _fetch(store: Store, run: Path, share: Share, newest: Callable[[str], bool]) -> None:
    files = store.files()
    whole = sealed_in(files, share)
    for name, lies in whole.items():
        if not ((run / name / MANIFEST).exists() and newest(name)):
            sizes = {path.removeprefix(f"{lies}/"): size for path, size in files.items() if path.startswith(f"{lies}/")}
            _fetch_sealed(store, lies, sizes, run / name)
    for name in share.folders_in(run):
        if name not in whole and not newest(name):
            shutil.rmtree(run / name)
    for name in files:
        if share.has_file(name) and not ((run / name).exists() and newest(name)):
            store.get(name, run / name)


def _fetch_sealed(store: Store, lies: str, sizes: dict[str, int], folder: Path) -> None:
    """The manifest comes last, and goes first where it changes."""
    content = store.read(f"{lies}/{MANIFEST}")
    here, there = _sealed(lambda: sealed_files(folder)), _sealed(lambda: listed(content))
    wanted = [name for name in there if name in sizes]  # one that lacks is found when it is read
    lacking = [
        name
        for name in wanted
        if here.get(name) != there[name]
        or not (folder / name).is_file()
        or (folder / name).stat().st_size != sizes[name]
    ]
    if not lacking and here == there:
        return
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in lacking:
        store.get(f"{lies}/{name}", folder / name)
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / MANIFEST, content)
    for path in folder.iterdir():
        if path.name not in there and path.name != MANIFEST and path.is_file():
            path.unlink()


def _sealed(read: Callable[[], dict[str, str]]) -> dict[str, str]:
    """Nothing where the manifest does not read: who uses the folder finds that out, too."""
    try:
        return read()
    except DamagedError:
        return {}


def mark_newest(run: Path, share: Share, start: str) -> None:
    """From now on this machine has the newest state of `share`, which that start of the run writes here."""
    (run / NEWEST).mkdir(exist_ok=True)
    atomic_write(run / NEWEST / f"{share.name}.json", json.dumps({"start": start, "share": asdict(share)}).encode())


def newest_here(run: Path, starts: Collection[str]) -> Callable[[str], bool]:
    """Tells of a path in a run folder whether one of these starts of the run wrote it last, on this machine."""
    return lambda path: any(start in starts and path in share for start, share in _marks(run))


def _marks(run: Path) -> Iterator[tuple[str, Share]]:
    for file in (run / NEWEST).glob("*.json"):
        try:
            mark = json.loads(file.read_bytes())
            given = dict(mark["share"])
            yield str(mark["start"]), Share(given.pop("name"), **{kind: tuple(found) for kind, found in given.items()})
        except (OSError, ValueError, KeyError, TypeError):
            continue  # of another version: what is here is not known to be the newest
