"""ROMs are the user's: found in a folder by their SHA-1, whatever their names, zipped or not. Nothing is written."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from apex_ray.config.plugins import KWARGS
from trainkit.errors import UserError, nearest_path

LARGEST_BYTES = 32 * 2**20  # of the games that stable-retro knows
INES, INES_HEADER_BYTES = b"NES\x1a", 16
SMD, SMD_AT, SMD_HEADER_BYTES, SMD_BLOCK_BYTES = b"\xaa\xbb", 8, 512, 0x4000  # of Super Magic Drive's dumps
HEADER_AT, TITLE_AT = 0x100, (0x120, 0x180)  # of Mega Drive ROMs: "SEGA", and the titles in Japan and elsewhere


@dataclass(frozen=True)
class Rom:
    """A file or a member of a zip file."""

    path: Path
    member: str
    sha1: str
    title: str  # of Mega Drive ROMs, "" of other files

    @property
    def place(self) -> str:
        return f"{self.path}!{self.member}" if self.member else str(self.path)

    def read(self) -> bytes:
        """What an emulator loads: the file, a dump of Super Magic Drive put in order."""
        if not self.member:
            return in_order(self.path.read_bytes())
        with zipfile.ZipFile(self.path) as archive:
            return in_order(archive.read(self.member))


@dataclass
class Shelf:
    """What a folder holds."""

    folder: Path
    looked_at: int = 0
    roms: dict[str, Rom] = field(default_factory=dict)  # by SHA-1
    unreadable: list[str] = field(default_factory=list)

    def find(self, hashes: Sequence[str]) -> Rom | None:
        return next((self.roms[h] for h in hashes if h in self.roms), None)

    def resembling(self, words: Sequence[str]) -> list[Rom]:
        """ROMs whose title or file name has all these words: another version, a hack or a damaged copy."""
        return [
            r
            for r in self.roms.values()
            if all(w in f"{r.title} {Path(r.member or r.path).name}".upper() for w in words)
        ]


def look_through(folder: str, key: str = f"{KWARGS}.roms") -> Shelf:
    """Every file in `folder` and below that can be a ROM, and every such member of the zip files there.

    UserError, naming `key`, when there is no such folder.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        beside = [str(p) for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
        what = "is a file; expected the folder that it lies in" if path.exists() else "does not exist"
        hint = "" if path.exists() else nearest_path(str(path), beside)
        raise UserError(f"{key} = {folder!r}: {'' if path.exists() else 'the folder '}{what}.{hint}")
    shelf = Shelf(path)
    for file in _files(path):
        try:
            for member, data in _contents(file):
                shelf.looked_at += 1
                sha1 = rom_sha1(data)
                shelf.roms.setdefault(sha1, Rom(file, member, sha1, _title(in_order(data))))
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # the latter two: encrypted
            shelf.unreadable.append(f"{file}: {error}")
    return shelf


def rom_sha1(data: bytes) -> str:
    """The SHA-1 that stable-retro's rom.sha names: without the headers that it skips (its data.groom_rom).

    Those are the 16 bytes of iNES and, with its blocks put in order, the 512 of Super Magic Drive.
    """
    return hashlib.sha1(data[INES_HEADER_BYTES:] if data.startswith(INES) else in_order(data)).hexdigest()


def in_order(data: bytes) -> bytes:
    """A Mega Drive ROM from Super Magic Drive's dump, whose 16 KiB blocks have the odd bytes behind the even ones;
    anything else as it is. stable-retro means to do the same.
    """
    blocks, rest = divmod(len(data) - SMD_HEADER_BYTES, SMD_BLOCK_BYTES)
    if rest or blocks < 1 or data[SMD_AT : SMD_AT + 2] != SMD:
        return data
    halves = np.frombuffer(data, np.uint8, offset=SMD_HEADER_BYTES).reshape(blocks, 2, SMD_BLOCK_BYTES // 2)
    ordered: bytes = halves[:, ::-1].transpose(0, 2, 1).tobytes()
    return ordered


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            if path.is_file() and 0 < path.stat().st_size <= LARGEST_BYTES:
                yield path


def _contents(file: Path) -> Iterator[tuple[str, bytes]]:
    """(member, bytes) of a zip file, ("", bytes) of any other."""
    if not zipfile.is_zipfile(file):
        yield "", file.read_bytes()
        return
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if not info.is_dir() and 0 < info.file_size <= LARGEST_BYTES:
                yield info.filename, archive.read(info)


def _title(data: bytes) -> str:
    if data[HEADER_AT : HEADER_AT + 4] != b"SEGA":
        return ""
    return " ".join(data[slice(*TITLE_AT)].decode("ascii", "replace").split())
