from collections.abc import Callable

import pytest
import ray

from cluster import connect
from cluster.connect import Embedded, connected
from cluster.errors import UserError


def unserved(first: int) -> tuple[list[str], Callable[..., str]]:
    """Addresses that were asked for, and a ray.init whose first so many connections get no server."""
    asked = list[str]()

    def init(address: str, **settings: object) -> str:
        asked.append(address)
        if len(asked) > first:
            return "connected"
        raise ConnectionAbortedError("Initialization failure from server:\nTraceback ...\nRuntimeError: no fork")

    return asked, init


def test_a_client_without_a_server_is_given_another(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, init = unserved(3)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(connect, "check", lambda address: None)
    assert connect._init("ray://here:1") == "connected" and asked == ["ray://here:1"] * 4
    asked, init = unserved(99)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(UserError, match=r"can't be reached \(RuntimeError: no fork\)"):
        connect._init("ray://here:1")
    assert len(asked) == 4


def test_a_process_in_a_ray_by_its_client_joins_it_without_a_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ray Client has no hook for the question where the dashboard is."""
    monkeypatch.setattr(connect, "initialised", lambda: "ray://here:10001")
    with connected("ray://here:10001", Embedded(1, 0)) as dashboard:
        assert dashboard is None


def test_a_ray_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def times_out(**settings: object) -> None:
        raise Exception("The current node timed out during startup.\nsome more")

    monkeypatch.setattr(ray, "init", times_out)
    with (
        pytest.raises(UserError, match=r"did not start on this machine: .*timed out during startup\.\n.*/dev/shm"),
        connected(None, Embedded(1, 2**27)),
    ):
        pass
