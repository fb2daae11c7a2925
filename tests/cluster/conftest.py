from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.heads import Head


@pytest.fixture(scope="session")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """A real head with dashboard and token, shared by the tests that leave it as it was."""
    head = Head(Path(tmp_path_factory.mktemp("head")))
    code, out = head.up("--cpus", "3")
    assert code == 0, out
    yield head
    assert head.run("apex-cluster", "down")[0] == 0
