"""Ports of a head that can't be had: told by option and number before anything starts."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.cli import main
from cluster.ports import Ports
from tests.cluster.heads import free_port
from trainkit.errors import UserError

FIELDS = {"--port": "gcs", "--dashboard-port": "dashboard", "--client-port": "client", "--metrics-port": "metrics"}


def free() -> Ports:
    return Ports(free_port(), free_port(), free_port(), free_port())


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
@pytest.mark.parametrize("option", FIELDS)
def test_up_starts_nothing_when_a_port_is_taken(
    option: str, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((host, 0))
        other.listen()
        port = other.getsockname()[1]
        ports = replace(free(), **{FIELDS[option]: port})
        words = [word for name, number in ports.options.items() for word in (name, str(number))]
        assert main(["up", "--cpus", "1", *words]) == 2
    said = capsys.readouterr().err
    assert f"error: {option} {port} is in use by process {os.getpid()} (" in said and "such as" in said
    assert not list(tmp_path.iterdir()), "no token, no state: nothing was started"


def test_ports_that_are_none_or_ray_s_or_twice_there() -> None:
    free().check()
    for port, why in ((0, "is no port"), (65_536, "is no port"), (10_002, "is one of the ports that Ray keeps")):
        with pytest.raises(UserError, match=f"--client-port {port} {why}"):
            replace(free(), client=port).check()
    ports = free()
    with pytest.raises(UserError, match=f"--metrics-port {ports.gcs} is that of --port too"):
        replace(ports, metrics=ports.gcs).check()


def test_a_port_that_was_just_left_is_free() -> None:
    ports = free()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Ray's servers do
        listener.bind(("127.0.0.1", ports.gcs))
        listener.listen()
        with socket.create_connection(("127.0.0.1", ports.gcs)):
            accepted, _ = listener.accept()
            accepted.close()  # this side closes first: its port waits for a minute
    ports.check()
