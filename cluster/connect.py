"""Ray for the length of a job: embedded in this process, or a cluster that is there already.

Ray answers a wrong token, a head that is gone or a port that is not its own with half a minute of retries and a general
message. So the cluster is asked one cheap question first, and each of these gets its own answer within seconds.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import ray

from cluster import ray_private
from cluster.forked import forks
from cluster.initialised import check_same, guest, host, initialised, session
from cluster.sessions import end_own_ray, remove
from trainkit.command_line import NOTICES
from trainkit.errors import UserError, first_line
from trainkit.interrupts import deaf_children
from trainkit.own_folders import can_write
from trainkit.words import size

CONNECT_TIMEOUT_S = 10.0
SHARED_MEMORY = Path("/dev/shm")
# Now and then the process that serves a Ray Client dies as it is forked, on a busy machine twice; the next one lives.
NO_SERVER, CLIENT_TRIES = "Initialization failure", 4
SETTING = "cluster.address"  # the name of the setting, for errors; other trainers call theirs otherwise
EXPECTED = "expected auto, host:port, ray://host:port, or local for a Ray of this run's own"


@dataclass(frozen=True)
class Embedded:
    """A Ray of this process's own, gone when it ends."""

    num_cpus: int
    object_store_bytes: int
    dashboard: bool = False
    imports: tuple[str, ...] = ()  # modules that its workers need, imported once for all of them


def cluster_address(value: str | None, setting: str = SETTING) -> str | None:
    """The cluster that the value of `setting` means; None for an embedded Ray.

    In a process that is connected to a Ray it is that one: UserError when the value asks for another. Elsewhere, unset,
    it is RAY_ADDRESS: Ray sets that inside a submitted job, which is thus on its cluster with no setting at all.
    """
    if (there := initialised()) is not None:
        check_same(value, there, setting)
        return there
    address = os.environ.get("RAY_ADDRESS") if value is None else value
    if not address or address == "local":
        return None
    if address.startswith(("http://", "https://")):
        where = "RAY_ADDRESS" if value is None else setting
        raise UserError(f"{where} = {address!r} is where jobs are submitted; a run connects to Ray itself: {EXPECTED}")
    return address


@contextmanager
def connected(address: str | None, embedded: Embedded, setting: str = SETTING) -> Iterator[str | None]:
    """Ray, initialised: the cluster at `address`, for None an embedded one; yields the dashboard's host:port, if any.

    UserError, in seconds, with the `setting` or RAY_ADDRESS, when it can't be. The Ray that this process is in already
    goes on when the block ends, and one that others of this process have joined until the last of them ends.
    """
    if address is not None and address == initialised():
        with guest():
            # A Ray Client does not know the dashboard.
            yield None if address.startswith("ray://") else ray_private.dashboard()
        return
    ray_private.leave_out(NOTICES)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray starts workers at nice 15, so that its own services and every other process preempt the learner all the time.
    os.environ.setdefault("RAY_worker_niceness", "0")
    if address is not None:
        try:
            context = _init(address)
        except UserError as why:
            given = "RAY_ADDRESS" if address == os.environ.get("RAY_ADDRESS") else setting
            raise UserError(f"{given} = {address!r}{why}") from None
        with host(partial(_leave, session())):
            yield context.dashboard_url or None
        return
    with ExitStack() as stack:
        stack.enter_context(_token_to_start_with())
        server = stack.enter_context(forks(embedded.imports))
        with server.makes_workers(embedded.dashboard):
            context = _start(embedded)
        own = _OwnRay(stack.pop_all())
    with host(own.end, started=True):
        try:
            yield context.dashboard_url or None
        except Exception:
            own.failed = True
            raise


def _leave(there: str | None) -> None:
    if session() == there:  # not by the program's own ray.shutdown()
        ray.shutdown()


class _OwnRay:
    """The Ray that this process has started."""

    def __init__(self, needs: ExitStack) -> None:
        """`needs` ends what it was started with: its token, the server of its workers."""
        self.failed, self._needs = False, needs  # failed: whether a run in it has
        self._session, (self._folder, _) = session(), ray_private.own_session()

    def end(self) -> None:
        left = session() != self._session  # by the program's own ray.shutdown()
        with self._needs:
            logs = remove(self._folder, self.failed) if left else end_own_ray(keep_logs=self.failed)
            if logs is not None:
                print(f"Ray's logs of this run are kept in {logs}", file=sys.stderr)


def slow_store(embedded: Embedded) -> str:
    """What to say where shared memory has no room for what Ray may keep in it; "" where it has."""
    if not SHARED_MEMORY.is_dir():
        return ""
    free = shutil.disk_usage(SHARED_MEMORY).free
    if free >= embedded.object_store_bytes:
        return ""
    return (
        f"{SHARED_MEMORY} has {size(free)} free and Ray may need {size(embedded.object_store_bytes)}: what its "
        "processes share is in files of /tmp instead, which is slower; give a container more with --shm-size"
    )


@contextmanager
def _token_to_start_with() -> Iterator[None]:
    """A token for a Ray of this process's own where there is none and the file that Ray would write can't be."""
    if token() is not None or can_write(token_file().parent):
        yield
        return
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    try:
        yield
    finally:
        del os.environ["RAY_AUTH_TOKEN"]


def _start(embedded: Embedded) -> Any:
    # Ray's head would keep the last 100,000 calls, 0.37 GB in an hour of Pong, and the names of a million before them.
    os.environ.setdefault("RAY_task_events_max_num_task_in_gcs", "10000")
    os.environ.setdefault("RAY_task_events_max_dropped_task_attempts_tracked_per_job_in_gcs", "10000")
    try:
        with deaf_children():
            return ray.init(
                address="local",
                num_cpus=embedded.num_cpus,
                object_store_memory=embedded.object_store_bytes,
                include_dashboard=embedded.dashboard,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except Exception as error:  # Ray raises what has no class of its own
        raise UserError(
            f"Ray did not start on this machine: {first_line(error)}\n"
            "It gives up after half a minute: look for programs that keep all cores, and for room in /tmp and /dev/shm"
        ) from None


def _init(address: str) -> Any:
    """UserError as the rest of a sentence that begins with the address; so `check`."""
    check(address)
    send_token()
    try:
        for left in reversed(range(CLIENT_TRIES)):
            try:
                return ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            except ConnectionError as error:
                if NO_SERVER not in str(error) or not left:
                    raise
                ray.shutdown()
    except ray.exceptions.AuthenticationError:
        raise UserError(f": {why_refused()}") from None
    except (ConnectionError, RuntimeError, ValueError) as error:
        text = str(error).strip()
        # What Ray's server raised is the last line of what it sends.
        reason = text.splitlines()[-1] if NO_SERVER in text else first_line(error)
        raise UserError(_mismatch(text) or unreachable(reason)) from None


def check(address: str) -> None:
    """Raise UserError unless a Ray answers at `address` (auto, host:port or ray://host:port) and takes our token."""
    target, client = _target(address)
    host, _, port = target.rpartition(":")
    if not host or not port.isdigit():
        raise UserError(unreachable("no host:port"))
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise UserError(unreachable(error.strerror or str(error))) from None
    if os.environ.get("RAY_USE_TLS", "0") in ("", "0"):
        _ask(target, client)


def _target(address: str) -> tuple[str, bool]:
    """(host:port, whether it is Ray Client's)."""
    if address.startswith("ray://"):
        return address.removeprefix("ray://").rstrip("/"), True
    if address != "auto":
        return address, False
    found = ray_private.ray_of_this_machine()
    if found is None:
        raise UserError(unreachable("no Ray was started on this machine; apex-cluster up starts one"))
    return found, False


def _ask(target: str, client: bool) -> None:
    """One cheap call by plain gRPC, whose status code says what Ray's own clients retry on in silence."""
    method, content = ray_private.cheap_call(client)
    secret = token()
    metadata = [("authorization", f"Bearer {secret}")] if secret else []
    with grpc.insecure_channel(target) as channel:
        try:
            channel.unary_unary(method)(content, timeout=CONNECT_TIMEOUT_S, metadata=metadata)
        except grpc.RpcError as error:
            code = error.code()
            if code is grpc.StatusCode.UNAUTHENTICATED:
                raise UserError(f": {why_refused()}") from None
            if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise UserError(unreachable("something listens there, but not Ray")) from None
            if code is grpc.StatusCode.UNIMPLEMENTED:
                other = "Ray Client's port" if not client else "no Ray Client port"
                raise UserError(unreachable(f"that is {other}")) from None
            # Anything else is for ray.init to report.


def token() -> str | None:
    """The token that Ray sends: RAY_AUTH_TOKEN, the file RAY_AUTH_TOKEN_PATH, or ~/.ray/auth_token; None without."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled":
        return None
    if given := os.environ.get("RAY_AUTH_TOKEN"):
        return given.strip()
    try:
        return token_file().read_text().strip() or None
    except OSError:
        return None


def send_token() -> None:
    """Have Ray send the token, if there is one: by itself it does so only where RAY_AUTH_MODE says token."""
    if token() is not None and "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        ray_private.read_environment_again()


def token_file() -> Path:
    """Where Ray reads the token."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()


def token_source() -> str:
    return "RAY_AUTH_TOKEN" if os.environ.get("RAY_AUTH_TOKEN") else str(token_file())


def why_refused() -> str:
    """What is wrong with the token, and where the right one belongs."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled":
        return "the cluster asks for a token, and RAY_AUTH_MODE=disabled keeps it from being sent; expected token"
    if token() is None:
        return (
            "the cluster asks for a token and there is none; expected the cluster's own in "
            f"{token_file()}, RAY_AUTH_TOKEN or the file RAY_AUTH_TOKEN_PATH names"
        )
    return f"the cluster refused the token from {token_source()}; expected the cluster's own (ray get-auth-token there)"


def unreachable(reason: str) -> str:
    return f" can't be reached ({reason}); {EXPECTED}"


def _mismatch(text: str) -> str | None:
    """Ray's report of different versions in one line; None when `text` is none."""
    if "ersion mismatch" not in text and "incompatible" not in text:
        return None
    versions = re.findall(r"Ray: (\S+)\s+Python: (\S+)", text)
    if len(versions) < 2:
        return f": {' '.join(text.split())}"
    (there, there_python), (here, here_python) = versions[:2]
    return (
        f" runs Ray {there} on Python {there_python} and this is Ray {here} on Python {here_python}; expected the same "
        "on both sides"
    )
