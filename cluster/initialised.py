"""The Ray that this process is connected to already: a notebook's, a script's after `ray.init()`, a Tune trial's.

A process can be in one Ray at a time. A run in such a process joins that one and leaves it running. Where it is another
run that brought the process there, the last of them to go ends it.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray

from cluster import ray_private
from cluster.resources import snapshot
from trainkit.errors import UserError

FREED_S, POLL_S = 10.0, 0.1
_ours = set[str]()  # sessions that a run of this process has started, and is to end
_guests = Counter[str]()  # runs that have joined, by session
_last_words: dict[str, Callable[[], None]] = {}  # what ends a Ray, by session, once its guests have gone


def initialised() -> str | None:
    """Its address, host:port or ray://host:port; None when this process is in no Ray."""
    if not ray.is_initialized():
        return None
    return ray_private.client_address() or str(ray.get_runtime_context().gcs_address)


def session() -> str | None:
    """What tells the Ray that this process is in from every other one; None when it is in no Ray."""
    if not ray.is_initialized():
        return None
    client = ray_private.client_address()
    return client or f"{ray.get_runtime_context().get_session_name()} {ray.get_runtime_context().get_job_id()}"


@contextmanager
def guest() -> Iterator[None]:
    """A run that has joined the Ray that this process is in; the last one ends it, if whoever brought it has gone."""
    there = str(session())
    _guests[there] += 1
    try:
        yield
    finally:
        _guests[there] -= 1
        if not _guests[there]:
            del _guests[there]
            if end := _last_words.pop(there, None):
                _ours.discard(there)
                end()


def ours() -> bool:
    """Whether it is a run of this process that started the Ray that it is in."""
    return session() in _ours


def has_guests(there: str | None) -> bool:
    """Whether runs of this process have joined the one that brought it into the Ray whose `session` that is."""
    return there in _guests


@contextmanager
def host(end: Callable[[], None], started: bool = False) -> Iterator[None]:
    """A run that has brought this process into a Ray, or has `started` it: `end` is called when it and its last guest
    have left.
    """
    there = str(session())
    if started:
        _ours.add(there)
    try:
        yield
    finally:
        if has_guests(there):
            _last_words[there] = end
        else:
            _ours.discard(there)
            end()


def check_same(value: str | None, there: str, setting: str) -> None:
    """UserError when the value of `setting` asks for another Ray than the one that this process is in."""
    if value in (None, "", "auto") or _resolved(str(value)) == _resolved(there):
        return
    wanted = "a Ray of the run's own" if value == "local" else "another one"
    raise UserError(
        f"{setting} = {value!r} is {wanted}, but this process is connected to the Ray at {there} already and "
        f"can be in one only; expected null, auto or {there}, or ray.shutdown() before"
    )


def _resolved(address: str) -> str:
    """With the host's number for its name, and one number for this machine."""
    scheme, _, rest = address.rpartition("://")
    host, _, port = rest.rstrip("/").rpartition(":")
    try:
        number = socket.gethostbyname(host)
    except OSError:
        return address
    local = number.startswith("127.") or number == ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return f"{scheme}://{'here' if local else number}:{port}"


def free_cpus() -> float:
    """CPUs that nobody has on any node."""
    return sum(node.free.get("CPU", 0.0) for node in snapshot())


def end_actors(there: str | None, namespace: str, free_before: float) -> None:
    """End the actors of that namespace and its placement group, as leaving Ray would, and see their CPUs free again.

    `there` is the `session` that they are in.
    """
    if session() != there:
        return  # the program has left that Ray, which has ended them
    with suppress(ValueError):  # none was made yet
        ray.util.remove_placement_group(ray.util.get_placement_group(namespace))
    actors: list[Any] = ray.util.list_named_actors(all_namespaces=True)
    for actor in actors:
        if actor["namespace"] == namespace:
            with suppress(ValueError, AssertionError):  # it has ended meanwhile, or what Ray knows of its class has
                ray.kill(ray.get_actor(actor["name"], namespace))
    deadline = time.monotonic() + FREED_S
    while free_cpus() < free_before and time.monotonic() < deadline:
        time.sleep(POLL_S)  # a run that follows at once is to find room
