"""A run on a cluster whose nodes come and go."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.cluster.heads import Head, Reader, finish


@pytest.mark.timeout(300)
def test_a_run_grows_with_a_node_goes_on_without_it_and_grows_back(tmp_path: Path) -> None:
    head = Head(tmp_path)
    assert head.up("--cpus", "2")[0] == 0
    try:
        run = head.start(
            "apex-ray",
            "train",
            "cartpole",
            f"cluster.address={head.address}",
            "actors.count=1-2",
            "stop.evaluation_return=null",
            "report.every_s=1",
            "report.line_every_s=1",
            "cluster.max_restarts=0",
        )
        log = Reader(run)
        log.until("room for 1 of 2 actors now")
        log.until("actors   1")
        with head.node(cpus=1):
            log.until("actors   2")
        log.until("actor 1 was lost with its node")
        before = _frames(log.until("actors   1"))
        with head.node(cpus=1):
            line = log.until("actors   2")
            assert _frames(line) > before, "it went on meanwhile"
            run.send_signal(signal.SIGINT)
            code, rest = finish(run)
            assert code == 130 and "final checkpoint" in rest, rest
    finally:
        head.run("apex-cluster", "down")


def _frames(line: str) -> int:
    found = re.search(r"frames +([\d,]+)", line)
    assert found, line
    return int(found[1].replace(",", ""))
