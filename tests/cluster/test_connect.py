from collections.abc import Callable
from pathlib import Path

import pytest
import ray

from cluster import connect
from cluster.connect import Embedded, connected
from cluster.data_parallel import fit
from cluster.workers_config import WorkersConfig
from lstm.cli import main
from trainkit.errors import UserError


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


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:1", "= '127.0.0.1:1' can't be reached (Connection refused); expected auto, host:port"),
        ("ray://nowhere", "= 'ray://nowhere' can't be reached (no host:port)"),
        ("http://127.0.0.1:8265", "= 'http://127.0.0.1:8265' is where jobs are submitted"),
    ],
)
def test_an_error_names_the_setting_that_the_user_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str, why: str
) -> None:
    with pytest.raises(UserError) as error:
        fit(print, {}, WorkersConfig(address=address), tmp_path)
    assert str(error.value).startswith(f"workers.address {why}")
    words = ["adding", f"workers.address={address}", f"runs_dir={tmp_path}"]
    for command in (["train", *words], ["sweep", *words, "training.learning_rate=0.001..0.01"]):
        assert main(command) == 2
        assert f"error: workers.address {why}" in capsys.readouterr().err


def test_so_does_the_one_of_a_process_that_is_in_a_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "initialised", lambda: "10.0.0.7:6379")
    with pytest.raises(UserError, match=r"^workers\.address = 'local' is a Ray of the run's own, but"):
        connect.cluster_address("local", "workers.address")
    with pytest.raises(UserError, match=r"^cluster\.address = '10.0.0.8:1' is another one, but"):
        connect.cluster_address("10.0.0.8:1")


def test_a_refused_token_is_told_with_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(address: str) -> None:
        raise UserError(": the cluster asks for a token and there is none")

    monkeypatch.setattr(connect, "check", refused)
    with (
        pytest.raises(UserError, match=r"^workers\.address = '10\.0\.0\.7:1': the cluster asks for a token"),
        connected("10.0.0.7:1", Embedded(0, 0), "workers.address"),
    ):
        pass
