"""Real Ray heads and nodes of a test's own, with a token, and commands run against them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

SCRIPTS = {"apex-ray": "apex_ray.cli", "apex-cluster": "cluster.cli", "ray": "ray.scripts.scripts"}


def free_port() -> int:
    """A port outside 10002 to 19999, which Ray keeps for workers."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port: int = listener.getsockname()[1]
        if not 10_000 <= port < 20_000:
            return port


@dataclass
class Head:
    """A head by `apex-cluster up`."""

    folder: Path
    gcs: int = field(default_factory=free_port)
    dashboard: int = field(default_factory=free_port)
    client: int = field(default_factory=free_port)
    metrics: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.dashboard}"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.gcs}"

    @property
    def environment(self) -> dict[str, str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "APEX_"))}
        token, state = str(self.folder / "auth_token"), str(self.folder / "state")
        return {**clean, "RAY_AUTH_TOKEN_PATH": token, "XDG_STATE_HOME": state, "PYTHONUNBUFFERED": "1"}

    def start(self, *command: str, cwd: Path | None = None, **env: str) -> subprocess.Popen[str]:
        """A console script, started."""
        return subprocess.Popen(
            [sys.executable, "-m", SCRIPTS[command[0]], *command[1:]],
            env={**self.environment, **env},
            cwd=cwd or self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str, cwd: Path | None = None, **env: str) -> tuple[int, str]:
        """(exit code, what it printed)."""
        return finish(self.start(*command, cwd=cwd, **env))

    def up(self, *options: str, **env: str) -> tuple[int, str]:
        ports = {"port": self.gcs, "dashboard-port": self.dashboard}
        ports |= {"client-port": self.client, "metrics-port": self.metrics}
        words = [word for name, port in ports.items() for word in (f"--{name}", str(port))]
        return self.run("apex-cluster", "up", "--object-store-gib", "0.3", *words, *options, **env)

    @contextmanager
    def node(self, cpus: int) -> Iterator[subprocess.Popen[str]]:
        """One more node on this machine, gone at once when the block ends."""
        ports = [f"--{name}={free_port()}" for name in ("metrics-export-port", "dashboard-agent-listen-port")]
        process = self.start(
            "ray",
            "start",
            f"--address={self.address}",
            f"--num-cpus={cpus}",
            "--object-store-memory=100000000",
            "--block",
            *ports,
            RAY_AUTH_MODE="token",
            RAY_worker_niceness="0",
        )
        try:
            yield process
        finally:
            kill_family(process.pid)
            process.wait()


def kill_family(pid: int) -> None:
    """As a machine that loses its power: no process has time to say goodbye."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in family:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue


def finish(process: subprocess.Popen[str], timeout_s: float = 100.0) -> tuple[int, str]:
    out, _ = process.communicate(timeout=timeout_s)
    return process.returncode, out


def run_all(head: Head, commands: Sequence[tuple[Sequence[str], dict[str, str]]]) -> list[tuple[int, str, float]]:
    """Several commands at once: (exit code, what it printed, seconds)."""
    started = time.monotonic()
    processes = [head.start(*words, **env) for words, env in commands]
    return [(*finish(process), time.monotonic() - started) for process in processes]


class Reader:
    """The lines of a process, until one has the text that a test waits for."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.lines = process, list[str]()

    def until(self, text: str) -> str:
        """The next line with `text` in it; AssertionError, with all lines, when the process ends before."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"no line with {text!r} in:\n{''.join(self.lines)}")
