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
from secrets import token_hex
from tempfile import TemporaryDirectory

import psutil

from cluster.sessions import with_children

SCRIPTS = {
    "apex-ray": "apex_ray.cli",
    "apex-cluster": "cluster.cli",
    "apex-wavenet": "wavenet.cli",
    "ray": "ray.scripts.scripts",
}

ROOT = Path(__file__).parents[2]
# An Ape-X run that leaves cores to what goes on beside it.
SLOW_CARTPOLE = (
    "cartpole", "env.id=apex-tests/SlowCartPole-v0", "env.import_modules=[tests.fakes]", "replay.min_transitions=200",
)  # fmt: skip


GIVEN = set[int]()  # ports, each to one who has not yet listened on it


def free_port() -> int:
    """A port outside 10002 to 19999, which Ray keeps for workers, and never the same twice."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port: int = listener.getsockname()[1]
        if not 10_000 <= port < 20_000 and port not in GIVEN:
            GIVEN.add(port)
            return port


@dataclass(frozen=True)
class Host:
    """A machine: this one, or a network namespace of it with an address of its own."""

    ip: str = ""
    enter: tuple[str, ...] = ()  # what a command is prefixed with to run there


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two network namespaces joined by a cable; where this user may not make them, this machine twice."""
    tag = f"apx{os.getpid()}"
    names, ips = (f"{tag}a", f"{tag}b"), ("10.77.0.1", "10.77.0.2")
    commands = [
        f"netns add {names[0]}",
        f"netns add {names[1]}",
        f"link add cable0 netns {names[0]} type veth peer name cable1 netns {names[1]}",
        *(f"-n {name} addr add {ip}/24 dev cable{i}" for i, (name, ip) in enumerate(zip(names, ips, strict=True))),
        *(f"-n {name} link set {device} up" for i, name in enumerate(names) for device in ("lo", f"cable{i}")),
    ]
    try:
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True, stderr=subprocess.DEVNULL)
        first, second = (Host(ip, ("ip", "netns", "exec", name)) for name, ip in zip(names, ips, strict=True))
    except (OSError, subprocess.CalledProcessError):
        first = second = Host()
    try:
        yield first, second
    finally:
        if first.enter:
            for name in names:
                subprocess.run(["ip", "netns", "delete", name], check=False)


@dataclass
class Head:
    """A head on a host, by `apex-cluster up` or by plain `ray start`."""

    folder: Path
    host: Host = field(default_factory=Host)
    gcs: int = field(default_factory=free_port)
    dashboard: int = field(default_factory=free_port)
    client: int = field(default_factory=free_port)
    metrics: int = field(default_factory=free_port)
    # Ray's folder is shared by default, and jobs go to the last head started in it: a test's would go to another's.
    sessions: TemporaryDirectory[str] = field(default_factory=lambda: TemporaryDirectory(ignore_cleanup_errors=True))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.dashboard}"

    @property
    def address(self) -> str:
        return f"{self.host.ip or '127.0.0.1'}:{self.gcs}"

    @property
    def environment(self) -> dict[str, str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "APEX_"))}
        return {
            **clean,
            "RAY_AUTH_TOKEN_PATH": str(self.folder / "auth_token"),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "RAY_TMPDIR": self.sessions.name,
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(ROOT),  # for tests.fakes
        }

    def start(
        self, *command: str, cwd: Path | None = None, host: Host | None = None, **env: str
    ) -> subprocess.Popen[str]:
        """A console script, started, on the head's host if not on another."""
        return subprocess.Popen(
            [*(host or self.host).enter, sys.executable, "-m", SCRIPTS[command[0]], *command[1:]],
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
    def plain(self, cpus: int, **env: str) -> Iterator[None]:
        """The head by plain `ray start`, ended with all its processes."""
        (self.folder / "auth_token").write_text(token_hex(32))
        ports = (f"--port={self.gcs}", f"--dashboard-port={self.dashboard}", f"--ray-client-server-port={self.client}")
        with self._ray_start(self.host, "--head", f"--num-cpus={cpus}", *ports, **env):
            yield

    @contextmanager
    def node(self, cpus: int, host: Host | None = None, labels: str = "", **env: str) -> Iterator[None]:
        """One more node, gone at once when the block ends; `env` is its processes' environment beside the usual one."""
        options = [f"--address={self.address}", f"--num-cpus={cpus}", *([f"--labels={labels}"] if labels else [])]
        agent = f"--dashboard-agent-listen-port={free_port()}"
        with self._ray_start(host or self.host, *options, agent, **env):
            yield

    @contextmanager
    def _ray_start(self, host: Host, *options: str, **env: str) -> Iterator[None]:
        own = [f"--metrics-export-port={free_port()}", "--object-store-memory=200000000", "--block"]
        ip = [f"--node-ip-address={host.ip}"] if host.ip else []
        environment = {"RAY_AUTH_MODE": "token", "RAY_worker_niceness": "0", **env}
        process = self.start("ray", "start", *options, *own, *ip, host=host, **environment)
        try:
            Reader(process).until("Ray runtime started")
            yield
        finally:
            kill_family(process.pid)
            process.wait()


def kill_family(pid: int) -> None:
    """As a machine that loses its power: no process has time to say goodbye."""
    for process in with_children(pid):
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue


def finish(process: subprocess.Popen[str], timeout_s: float = 170.0) -> tuple[int, str]:
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
