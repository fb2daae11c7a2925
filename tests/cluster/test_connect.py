import pytest
import ray

from cluster.connect import Embedded, connected
from cluster.errors import UserError


def test_a_ray_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def times_out(**settings: object) -> None:
        raise Exception("The current node timed out during startup.\nsome more")

    monkeypatch.setattr(ray, "init", times_out)
    with (
        pytest.raises(UserError, match=r"did not start on this machine: .*timed out during startup\.\n.*/dev/shm"),
        connected(None, Embedded(1, 2**27)),
    ):
        pass
