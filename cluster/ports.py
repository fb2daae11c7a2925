"""The ports of a head: where it listens, and whether they are free for it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

from trainkit.errors import UserError

WORKERS = range(10_002, 20_000)  # Ray's own for its workers
HIGHEST = 65_535
EXPECTED = f"expected a free port from 1 to {HIGHEST}, outside {WORKERS.start} to {WORKERS.stop - 1}"


@dataclass(frozen=True)
class Ports:
    """Where the head listens: the dashboard for this machine alone, the others on every interface."""

    gcs: int = 6379
    dashboard: int = 8265
    client: int = 10001
    metrics: int = 8090

    @property
    def options(self) -> dict[str, int]:
        """By the option of `apex-cluster up` that says each."""
        return {
            "--port": self.gcs,
            "--dashboard-port": self.dashboard,
            "--client-port": self.client,
            "--metrics-port": self.metrics,
        }

    def check(self) -> None:
        """UserError, with option and port, when one can't be had: Ray would wait for it, or start with another's."""
        options = list(self.options.items())
        for i, (option, port) in enumerate(options):
            if not 0 < port <= HIGHEST:
                raise UserError(f"{option} {port} is no port; {EXPECTED}")
            if port in WORKERS:
                raise UserError(f"{option} {port} is one of the ports that Ray keeps for its workers; {EXPECTED}")
            if same := next((other for other, used in options[:i] if used == port), None):
                raise UserError(f"{option} {port} is that of {same} too; {EXPECTED}")
            if error := _why_not("127.0.0.1" if port == self.dashboard else "", port):
                raise UserError(f"{option} {port} {error}; {EXPECTED}, such as {self.free_port()}")

    def free_port(self) -> int:
        """One that nobody has at this moment, nor this head."""
        return next(port for port in _free_ports() if port not in self.options.values() and port not in WORKERS)


def _free_ports() -> Iterator[int]:
    while True:
        with socket.socket() as listener:
            listener.bind(("", 0))
            yield int(listener.getsockname()[1])


def _why_not(host: str, port: int) -> str:
    """Why nobody can listen there; '' when one can."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just left is free
        try:
            listener.bind((host, port))
            listener.listen()
        except PermissionError:
            return "may not be used by this user"
        except OSError:
            return f"is in use{_by_whom(port)}"
    return ""


def _by_whom(port: int) -> str:
    """' by process 12 (python)', where this user may know."""
    try:
        listening = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        pids = [c.pid for c in listening if getattr(c.laddr, "port", 0) == port]
        return f" by process {pids[0]} ({psutil.Process(pids[0]).name()})" if pids and pids[0] else ""
    except psutil.Error:
        return ""
