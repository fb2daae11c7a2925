"""A run on two hosts, one of which comes late, is lost and comes back."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.cluster.heads import SLOW_CARTPOLE, Head, Reader, finish, two_hosts

WORDS = (*SLOW_CARTPOLE, "actors.count=1-2")


@pytest.mark.timeout(300)
def test_a_run_grows_with_a_host_goes_on_without_it_and_grows_back(tmp_path: Path) -> None:
    with two_hosts() as (first, second):
        head = Head(tmp_path, first)
        with head.plain(cpus=2):
            plan = ("apex-cluster", "plan", *WORDS, "--address", head.address)
            code, out = head.run(*plan)
            assert code == 0 and "fits in part: 1 of 2 x actor now" in out, out
            run = head.start(
                "apex-ray",
                "train",
                *WORDS,
                f"cluster.address={head.address}",
                "stop.evaluation_return=null",
                "report.every_s=1",
                "report.line_every_s=1",
                "cluster.max_restarts=0",
            )
            log = Reader(run)
            log.until("room for 1 of 2 actors now")
            log.until("actors   1")
            with head.node(1, second):
                log.until("actors   2")
                code, out = head.run(*plan)
                assert len(re.findall(rf"^{re.escape(first.ip)}.* \(head\) +0 of 2 ", out, re.MULTILINE)) == 1, out
                assert len(re.findall(rf"^{re.escape(second.ip)}.* 0 of 1 ", out, re.MULTILINE)) == 1, out
                code, out = head.run("apex-cluster", "status", "--address", head.url)
                assert re.search(rf"^actor-0 +ActorNode +alive +{first.ip}\S* \(head\)", out, re.MULTILINE), out
                assert re.search(rf"^actor-1 +ActorNode +alive +{second.ip}[\d.]* +\d", out, re.MULTILINE), out
            log.until(f"actor 1 was lost with its node {second.ip}")
            before = _frames(log.until("actors   1"))
            with head.node(1, second):
                line = log.until("actors   2")
                assert _frames(line) > before, "it went on meanwhile"
                run.send_signal(signal.SIGINT)
                code, rest = finish(run)
                assert code == 130 and "final checkpoint" in rest, rest


def _frames(line: str) -> int:
    found = re.search(r"steps +([\d,]+)", line)
    assert found, line
    return int(found[1].replace(",", ""))
