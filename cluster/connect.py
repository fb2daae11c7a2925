"""Ray for the length of a job: embedded in this process, or a cluster that is there already.

Ray answers a wrong token, a head that is gone or a port that is not its own with half a minute of retries and a general
message. So the cluster is asked one cheap question first, and each of these gets its own answer within seconds.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import ray

from cluster.errors import UserError
from cluster.initialised import check_same, initialised
from cluster.interrupts import deaf_children
from cluster.own_folders import can_write
from cluster.sessions import end_own_ray

CONNECT_TIMEOUT_S = 10.0
# Now and then the process that serves a Ray Client dies as it is forked, on a busy machine twice; the next one lives.
NO_SERVER, CLIENT_TRIES = "Initialization failure", 4
EXPECTED = "expected auto, host:port, ray://host:port, or local for a Ray of this run's own"


@dataclass(frozen=True)
class Embedded:
    """A Ray of this process's own, gone when it ends."""

    num_cpus: int
    object_store_bytes: int
    dashboard: bool = False


def cluster_address(setting: str | None) -> str | None:
    """The cluster that `cluster.address` means; None for an embedded Ray.

    In a process that is connected to a Ray it is that one: UserError when the setting asks for another. Elsewhere,
    unset, it is RAY_ADDRESS: Ray sets that inside a submitted job, which is thus on its cluster with no setting at all.
    """
    if (there := initialised()) is not None:
        check_same(setting, there)
        return there
    address = os.environ.get("RAY_ADDRESS") if setting is None else setting
    if not address or address == "local":
        return None
    if address.startswith(("http://", "https://")):
        where = "RAY_ADDRESS" if setting is None else "cluster.address"
        raise UserError(f"{where} = {address!r} is where jobs are submitted; a run connects to Ray itself: {EXPECTED}")
    return address


@contextmanager
def connected(address: str | None, embedded: Embedded) -> Iterator[str | None]:
    """Ray, initialised: the cluster at `address`, for None an embedded one; yields the dashboard's host:port, if any.

    UserError, in seconds, when it can't be. The Ray that this process is in already goes on when the block ends.
    """
    if address is not None and address == initialised():
        # A Ray Client does not know the dashboard.
        client = address.startswith("ray://")
        yield None if client else ray._private.worker.get_dashboard_url() or None  # type: ignore[no-untyped-call]
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray starts workers at nice 15, so that its own services and every other process preempt the learner all the time.
    os.environ.setdefault("RAY_worker_niceness", "0")
    if address is not None:
        context = _init(address)
        try:
            yield context.dashboard_url or None
        finally:
            ray.shutdown()
        return
    with _token_to_start_with():
        context, failed = _start(embedded), False
        try:
            yield context.dashboard_url or None
        except Exception:
            failed = True
            raise
        finally:
            if (logs := end_own_ray(keep_logs=failed)) is not None:
                print(f"Ray's logs of this run are kept in {logs}", file=sys.stderr)


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
    check(address)
    send_token()

    tries = CLIENT_TRIES
    try:
        while True:
            tries -= 1
            try:
                return ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            except ConnectionError as error:
                if NO_SERVER not in str(error) or not tries:
                    raise
                ray.shutdown()
    except ray.exceptions.AuthenticationError:
        raise _refused(address) from None
    except (ConnectionError, RuntimeError, ValueError) as error:
        text = str(error).strip()
        # What Ray's server raised is the last line of what it sends.
        reason = text.splitlines()[-1] if NO_SERVER in text else first_line(error)
        raise _mismatch(address, text) or unreachable(address, reason) from None


def check(address: str) -> None:
    """Raise UserError unless a Ray answers at `address` (auto, host:port or ray://host:port) and takes our token."""
    target, client = _target(address)
    host, _, port = target.rpartition(":")
    if not host or not port.isdigit():
        raise unreachable(address, "no host:port")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise unreachable(address, error.strerror or str(error)) from None
    if os.environ.get("RAY_USE_TLS", "0") in ("", "0"):
        _ask(address, target, client)


def _target(address: str) -> tuple[str, bool]:
    """(host:port, whether it is Ray Client's)."""
    if address.startswith("ray://"):
        return address.removeprefix("ray://").rstrip("/"), True
    if address != "auto":
        return address, False
    from ray._private.services import canonicalize_bootstrap_address

    try:
        found = canonicalize_bootstrap_address("auto")
    except ConnectionError:
        found = None
    if found is None:
        raise unreachable(address, "no Ray was started on this machine; apex-cluster up starts one")
    return found, False


def _ask(address: str, target: str, client: bool) -> None:
    """One cheap call by plain gRPC, whose status code says what Ray's own clients retry on in silence."""
    if client:
        from ray.core.generated.ray_client_pb2 import (  # type: ignore[attr-defined]
            ClusterInfoRequest,
            ClusterInfoType,
        )

        method, request = "/ray.rpc.RayletDriver/ClusterInfo", ClusterInfoRequest(type=ClusterInfoType.PING)
        content = request.SerializeToString()
    else:
        method, content = "/ray.rpc.NodeInfoGcsService/GetClusterId", b""
    secret = token()
    metadata = [("authorization", f"Bearer {secret}")] if secret else []
    with grpc.insecure_channel(target) as channel:
        try:
            channel.unary_unary(method)(content, timeout=CONNECT_TIMEOUT_S, metadata=metadata)
        except grpc.RpcError as error:
            code = error.code()
            if code is grpc.StatusCode.UNAUTHENTICATED:
                raise _refused(address) from None
            if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise unreachable(address, "something listens there, but not Ray") from None
            if code is grpc.StatusCode.UNIMPLEMENTED:
                other = "Ray Client's port" if not client else "no Ray Client port"
                raise unreachable(address, f"that is {other}") from None
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
        from ray._raylet import Config  # type: ignore[attr-defined]

        os.environ["RAY_AUTH_MODE"] = "token"
        Config.initialize("")  # read once at import, so before now


def token_file() -> Path:
    """Where Ray reads the token."""
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()


def token_source() -> str:
    return "RAY_AUTH_TOKEN" if os.environ.get("RAY_AUTH_TOKEN") else str(token_file())


def _refused(address: str) -> UserError:
    return UserError(f"cluster.address = {address!r}: {why_refused()}")


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


def unreachable(address: str, reason: str) -> UserError:
    return UserError(f"cluster.address = {address!r} can't be reached ({reason}); {EXPECTED}")


def _mismatch(address: str, text: str) -> UserError | None:
    """Ray's report of different versions in one line; None when `text` is none."""
    if "ersion mismatch" not in text and "incompatible" not in text:
        return None
    versions = re.findall(r"Ray: (\S+)\s+Python: (\S+)", text)
    if len(versions) < 2:
        return UserError(f"cluster.address = {address!r}: {' '.join(text.split())}")
    (there, there_python), (here, here_python) = versions[:2]
    return UserError(
        f"cluster.address = {address!r} runs Ray {there} on Python {there_python} and this is Ray {here} on Python "
        f"{here_python}; expected the same on both sides"
    )


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
