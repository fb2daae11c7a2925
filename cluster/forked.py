"""Workers of a Ray of this process's own, as forks of one process that has imported what they need."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cluster import fork_worker, ray_private
from cluster.sessions import end, with_children

# What Ray sets for a worker that may be of any job. The number of its own process, whose end no worker outlives, it
# reads as it is imported; the program that owns the server ends with that process.
AS_RAY = {"SPT_NOENV": "1", "RAY_JOB_ID": "f" * 8}
OWNER = "RAY_RAYLET_PID"
SERVER = Path(fork_worker.__file__).with_name("fork_server.py")

_kept = dict[tuple[str, ...], "ForkServer | None"]()


@contextmanager
def kept(imports: tuple[str, ...]) -> Iterator[None]:
    """Every Ray of this process that is started inside, one after the other, has the same server."""
    if imports in _kept:  # by a caller, for longer
        yield
        return
    _kept[imports] = None
    try:
        yield
    finally:
        if (server := _kept.pop(imports)) is not None:
            server.end()


@contextmanager
def ahead(imports: tuple[str, ...]) -> Iterator[None]:
    """A Ray that is started inside finds its server there already: it has been importing beside this process."""
    with kept(imports):
        _kept[imports] = _running(imports)
        yield


@contextmanager
def forks(imports: tuple[str, ...]) -> Iterator[ForkServer]:
    """The server of a Ray's workers, which end with the block."""
    server = _running(imports)
    if imports in _kept:
        _kept[imports] = server
    try:
        yield server
    finally:
        if imports in _kept:
            server.end_workers()
        else:
            server.end()


def _running(imports: tuple[str, ...]) -> ForkServer:
    server = _kept.get(imports)
    return ForkServer(imports) if server is None or server.has_ended else server


class ForkServer:
    """The process with the imports. Where none comes to be, or it has ended, workers start as Ray starts them."""

    def __init__(self, imports: Sequence[str]) -> None:
        # Where Ray has its sockets: their paths may not be long.
        self._folder = Path(tempfile.mkdtemp(prefix="apex-ray-", dir=os.environ.get("RAY_TMPDIR", "/tmp")))
        path = str(self._folder / "forks")
        self._variables = {fork_worker.SERVER: path, fork_worker.OWN_SCRIPT: ray_private.worker_script()}
        ours, self._owned = os.pipe()  # it sees the end of this process by that of the other end
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(256)
        files = [listener.fileno(), ours]
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # nor do Ray's hear them
        try:
            self._process = subprocess.Popen(
                [sys.executable, str(SERVER), *map(str, files), *imports],
                pass_fds=files,
                env={**os.environ, **self._variables, **AS_RAY, OWNER: str(os.getpid())},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            listener.close()
            os.close(ours)

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    @contextmanager
    def makes_workers(self, dashboard: bool) -> Iterator[None]:
        """Of a Ray that is started inside, for as long as that lives."""
        os.environ.update(self._variables)
        try:
            with ray_private.starting(Path(fork_worker.__file__), dashboard):
                yield
        finally:
            for name in self._variables:
                del os.environ[name]

    def end_workers(self) -> None:
        end([process for process in with_children(self._process.pid) if process.pid != self._process.pid])

    def end(self) -> None:
        """With the workers that are left."""
        family = with_children(self._process.pid)
        os.close(self._owned)
        end(family)
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
