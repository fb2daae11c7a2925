"""A Ray head on this machine, with dashboard and token, to try jobs on: started, found again, and ended alone.

Other Rays on the machine are left as they are, which `ray stop` would not do.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from cluster.connect import token, token_file, token_source
from cluster.dashboard import EXPECTED, get
from cluster.ports import Ports
from cluster.sessions import end, remove, runs
from trainkit.errors import UserError, os_errors
from trainkit.files import atomic_write

START_TIMEOUT_S = 90.0
GRACE_S = 5.0  # for `ray start` to end what it started; then all of it is killed
DEFAULT_DASHBOARD = "http://127.0.0.1:8265"  # Ray's
JOB_STOP_WAIT_S = "60"  # how long a stopped job may take to save itself before Ray kills it


@dataclass(frozen=True)
class Head:
    """A head that `up` started."""

    pid: int
    created: float  # of the process: pids are used again
    ports: Ports

    @property
    def dashboard(self) -> str:
        return f"http://127.0.0.1:{self.ports.dashboard}"

    @property
    def session(self) -> Path | None:
        """Ray's folder of logs and boards, as the command lines of the head's processes name it; None when it has none.

        So as it starts, and as it ends.
        """
        for process in self.family:
            try:
                words = " ".join(process.cmdline())
            except psutil.Error:  # it has ended meanwhile, or is of another user
                continue
            if found := re.search(r"(/\S*/session_[^/\s]+)/", words):
                return Path(found[1])
        return None

    @property
    def family(self) -> list[psutil.Process]:
        """It and what it started, which may outlive it: `ray start` leads a session (setsid) of its own."""
        if self.process is not None:
            return [self.process, *self.process.children(recursive=True)]
        with suppress(psutil.NoSuchProcess):
            if abs(psutil.Process(self.pid).create_time() - self.created) >= 1:
                return []  # the pid is given anew only when nothing of that session is left
        return [process for process in psutil.process_iter() if _session_of(process.pid) == self.pid and runs(process)]

    @property
    def process(self) -> psutil.Process | None:
        """None when it has ended."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 1 and process.status() != psutil.STATUS_ZOMBIE
            return process if same else None
        except psutil.NoSuchProcess:
            return None


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def state_folder() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "apex-ray"


def running_head() -> Head | None:
    """The head of an earlier `up`, if it still runs."""
    try:
        stored = json.loads((state_folder() / "head.json").read_text())
        head = Head(stored["pid"], stored["created"], Ports(**stored["ports"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return head if head.process else None


def dashboard_address(given: str) -> str:
    """`given`, else RAY_API_SERVER_ADDRESS, an http RAY_ADDRESS, the head `apex-cluster up` started, Ray's default."""
    environment = [os.environ.get("RAY_API_SERVER_ADDRESS", ""), os.environ.get("RAY_ADDRESS", "")]
    found = given or next((a for a in environment if a.startswith("http")), "")
    if not found:
        head = running_head()
        found = head.dashboard if head else DEFAULT_DASHBOARD
    split = urlsplit(found)
    if split.scheme not in ("http", "https") or not split.hostname:
        raise UserError(f"--address {found!r}: {EXPECTED}")
    return found.rstrip("/")


def up(ports: Ports, cpus: int | None, object_store_bytes: int | None) -> Head:
    """Start a head and wait until it takes jobs.

    UserError when one of `up` runs already or Ray won't start; when a port is taken, before anything is written.
    """
    if (head := running_head()) is not None:
        raise UserError(f"a head runs already at {head.dashboard} (process {head.pid}); end it with apex-cluster down")
    ports.check()
    created = ensure_token()
    if created:
        print(f"token written to {created}")
    log = _log()
    with log.open("wb") as output:
        process = subprocess.Popen(
            _command(ports, cpus, object_store_bytes),
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    head = Head(process.pid, psutil.Process(process.pid).create_time(), ports)
    atomic_write(log.parent / "head.json", json.dumps(asdict(head)).encode())
    try:
        _wait(head, process, log)
    except BaseException:
        down(head)
        raise
    return head


def _log() -> Path:
    """Where the head's words go. UserError when the state folder can't be written."""
    log = state_folder() / "head.log"
    expected = "; expected one that can, give another by XDG_STATE_HOME"
    with os_errors(f"state folder {str(log.parent)!r} cannot be written", expected):
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
    return log


def ensure_token() -> Path | None:
    """Have a token where Ray looks for it, readable by this user alone; the file when it had to be made."""
    if token() is not None:
        return None
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled":
        raise UserError("RAY_AUTH_MODE = 'disabled': expected token; whoever reaches an open head can run any code")
    path = token_file()
    expected = "; expected one that can, give another by RAY_AUTH_TOKEN_PATH"
    with os_errors(f"token file {token_source()!r} cannot be written", expected):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(secrets.token_hex(32))
    return path


def _command(ports: Ports, cpus: int | None, object_store_bytes: int | None) -> list[str]:
    options = {
        "--port": ports.gcs,
        "--dashboard-port": ports.dashboard,
        "--ray-client-server-port": ports.client,
        "--metrics-export-port": ports.metrics,
        # Not Ray's default: every other Ray here takes that, even one that starts at the same moment, and an agent that
        # can't listen takes no jobs, silently.
        "--dashboard-agent-listen-port": ports.free_port(),
        "--num-cpus": cpus,
        "--object-store-memory": object_store_bytes,
    }
    given = [f"{name}={value}" for name, value in options.items() if value is not None]
    # The dashboard is for this machine alone. Ray's other ports listen on every interface, and ask for the token.
    here = ["--head", "--block", "--dashboard-host=127.0.0.1"]
    return [sys.executable, "-m", "ray.scripts.scripts", "start", *here, *given]


def _environment() -> dict[str, str]:
    return {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_JOB_STOP_WAIT_TIME_S": JOB_STOP_WAIT_S,
        **({} if "RAY_TMPDIR" in os.environ else {"RAY_TMPDIR": _create_own_folder()}),
        **os.environ,
        "RAY_AUTH_MODE": "token",
        # Ray starts workers at nice 15, so that every other process preempts the learner.
        "RAY_worker_niceness": "0",
        # Jobs find the same apex-ray as this command.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    }


def own_folder() -> Path:
    """Where this user's heads keep their sessions."""
    return Path(f"/tmp/apex-ray-{os.getuid()}")


def _create_own_folder() -> str:
    """The folder, there.

    Ray puts a job on the cluster of the last `ray start` that its folder, by default everybody's /tmp/ray, tells of.
    The path is short because sockets are made in it: theirs may have 107 bytes.
    """
    folder = own_folder()
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        owned = folder.lstat().st_uid == os.getuid()
    except OSError:
        owned = False
    if not owned:
        raise UserError(f"{folder} is not this user's own folder; expected that, or RAY_TMPDIR set to a short path")
    return str(folder)


def _wait(head: Head, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        if process.poll() is not None:
            reason = _last_words(log.read_text(errors="replace").splitlines())
            raise UserError(f"Ray did not start: {reason} (all of it in {log})")
        try:
            # The server for ray:// comes last.
            socket.create_connection(("127.0.0.1", head.ports.client), timeout=1).close()
            if get(head.dashboard, "/api/version"):
                return
        except (OSError, UserError):
            if time.monotonic() > deadline:
                raise UserError(f"Ray took more than {START_TIMEOUT_S:g} s to start; see {log}") from None
        time.sleep(0.25)


def _last_words(lines: Sequence[str]) -> str:
    printed = [line.strip() for line in lines if line.strip()]
    errors = [line for line in printed if "rror" in line]
    return (errors or printed or ["no reason given"])[-1]


def down(head: Head) -> None:
    """End the head and every process it started, and no other, and remove the files of its session."""
    family, session = head.family, head.session
    if (process := head.process) is not None:
        process.terminate()
        psutil.wait_procs([process], GRACE_S)
    end(family)
    if session is not None:
        _remove_files(session)
    (state_folder() / "head.json").unlink(missing_ok=True)


def _remove_files(session: Path) -> None:
    remove(session)
    if session.parent.parent == own_folder() and not [s for s in session.parent.glob("session_*") if s.is_dir()]:
        shutil.rmtree(own_folder(), ignore_errors=True)  # no other head of this user has its session there


def add_boards(session: Path) -> list[str]:
    """Copy our Grafana boards to where Ray provisions its own from; their names."""
    folder = session / "metrics" / "grafana" / "dashboards"
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for board in sorted(files("cluster").joinpath("dashboards").iterdir(), key=lambda board: board.name):
        if board.name.endswith(".json"):
            shutil.copyfile(str(board), folder / board.name)
            names.append(board.name)
    return names
