"""A checkpoint on a filesystem of Arrow's: whole there, or not taken for whole."""

import fsspec
import pyarrow.fs
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from apex_ray.rllib import folders
from apex_ray.tuning.saved import FACTS
from trainkit.errors import NotWrittenError, UserError

FILES = {FACTS: b"{}", "config.yaml": b"a: 1\n", "checkpoints/update-1/online.safetensors": b"weights"}


class Full(MemoryFileSystem):
    """Has no room for weights."""

    cachable = False

    def _open(self, path, mode="rb", **given):
        if mode == "wb" and "online" in path:
            raise OSError(28, "No space left on device")
        return super()._open(path, mode, **given)


def arrow(filesystem):
    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(filesystem))


def fill(path, filesystem):
    with folders.to_fill(path, filesystem) as (folder, where):
        for name, content in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    return where


def test_it_is_sent_when_it_is_filled_and_comes_back():
    there = arrow(fsspec.filesystem("memory"))
    assert fill("/sent/a", there) == "/sent/a"
    with folders.to_read("/sent/a", there) as folder:
        found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert found == FILES


def test_what_finds_no_room_is_an_error_and_not_taken_for_whole():
    fill("/full/a", arrow(fsspec.filesystem("memory")))
    there = arrow(Full())
    with pytest.raises(NotWrittenError, match=r"^checkpoint /full/a can't be written: No space left on device$"):
        fill("/full/a", there)
    with folders.to_read("/full/a", there) as folder:
        assert not (folder / FACTS).exists() and (folder / "config.yaml").exists()


def test_paths_and_uris_of_this_machine_are_used_as_they_are(tmp_path):
    for path in (tmp_path / "a", f"file://{tmp_path}/b"):
        where = fill(path, None)
        with folders.to_read(where, None) as folder:
            assert (folder / FACTS).read_bytes() == b"{}"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_an_unknown_scheme_is_told_with_the_nearest():
    with pytest.raises(UserError, match=r"unknown scheme 's4'; expected one of s3, .*Did you mean 's3'\?"):
        fill("s4://bucket/a", None)
