import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from apex_ray.report import process_memory
from apex_ray.report.process_memory import COLUMNS, SHARED_MEMORY, MemoryLog, _name, resident_bytes

MIB = 2**20
pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux")

HOLD = "import sys; held = bytearray(b'x') * (64 << 20); print(flush=True); sys.stdin.read()"
# A file in shared memory, open, filled and mapped, and unlinked as Ray's store is.
SHARE = """
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
pages = mmap.mmap(fd, 0)
total = sum(pages[::4096])
print(flush=True); sys.stdin.read()
"""


@contextmanager
def running(code: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-S", "-c", code, *arguments], stdin=pipe, stdout=pipe)
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdout.readline()
        yield process
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def test_private_memory_is_the_processs_own() -> None:
    with running(HOLD) as process:
        sizes = resident_bytes([process.pid])
    assert 64 * MIB < sizes[process.pid] < 90 * MIB
    assert sizes[SHARED_MEMORY] < 8 * MIB


def test_shared_memory_counts_once_however_many_map_it() -> None:
    path = Path(f"/dev/shm/apex-ray-test-{os.getpid()}")
    path.write_bytes(b"x" * (32 * MIB))
    try:
        with running(SHARE, str(path)) as one, running(SHARE, str(path)) as two:
            path.unlink()
            resident = [psutil.Process(p.pid).memory_info().rss for p in (one, two)]
            sizes = resident_bytes([one.pid, two.pid])
    finally:
        path.unlink(missing_ok=True)
    assert min(resident) > 32 * MIB, "each of them maps all of it"
    assert 32 * MIB <= sizes[SHARED_MEMORY] < 34 * MIB
    assert max(sizes[one.pid], sizes[two.pid]) < 24 * MIB


def test_a_process_that_is_gone_is_left_out() -> None:
    with running("print()") as process:
        pass
    assert resident_bytes([process.pid]) == {SHARED_MEMORY: 0}


def test_without_smaps_rollup_psutil_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_memory, "_PROC", tmp_path)
    with running(HOLD) as process:
        sizes = resident_bytes([process.pid])
    assert 64 * MIB < sizes[process.pid] < 90 * MIB


def test_the_log_has_this_process_and_its_children(tmp_path: Path) -> None:
    log = MemoryLog(tmp_path / "memory.csv")
    assert log.total_bytes == 0
    log.sample(1)
    alone = log.total_bytes
    with running(HOLD) as process:
        MemoryLog(tmp_path / "memory.csv").sample(2.25)  # a resumed run appends
        log.sample(3)
    assert log.total_bytes > alone + 60 * MIB
    lines = list(csv.reader((tmp_path / "memory.csv").read_text().splitlines()))
    assert lines.count(list(COLUMNS)) == 1 and lines[0] == list(COLUMNS)
    second = {int(pid): (name, int(size)) for time_s, name, pid, size in lines[1:] if time_s == "2.2"}
    assert second[os.getpid()][0] == "driver"
    assert second[SHARED_MEMORY][0] == "shared memory"
    assert second[process.pid][1] > 64 * MIB
    third = [int(size) for time_s, _, _, size in lines[1:] if time_s == "3.0"]
    assert sum(third) == log.total_bytes


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["ray::ActorNode.run", "", ""], "ActorNode"),
        (["ray::IDLE"], "IDLE"),
        (["/venv/bin/python", "-u", "/venv/site-packages/ray/_private/log_monitor.py", "--x"], "log_monitor"),
        (["/usr/bin/ffmpeg", "x.py"], None),
        ([], None),
    ],
)
def test_a_ray_process_is_named_by_what_it_does(command: list[str], name: str | None) -> None:
    assert _name(command) == name
