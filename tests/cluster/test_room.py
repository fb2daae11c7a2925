"""Room for a data-parallel job. The nodes are lists here: an autoscaler can't be had; test_sharing.py has real ones."""

from __future__ import annotations

import re
import signal
import tomllib
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from cluster import room
from cluster.cli import PLANNERS
from cluster.plan import show_plan
from cluster.resources import Bundle, Node, Planner, fit
from cluster.workers_config import WorkersConfig
from trainkit.errors import UserError
from wavenet.demand import plan

ROOT = Path(__file__).parents[2]


def node(name: str, free: float, total: float, pool: str = "") -> Node:
    return Node(name, name, {"CPU": free}, {"CPU": total}, {"pool": pool} if pool else {})


class Cluster:
    """Its nodes at each look, and what its autoscaler was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *looks: list[Node]) -> None:
        self.looks, self.asked, self.said = list(looks), list[Sequence[Bundle]](), list[str]()
        monkeypatch.setattr(room, "POLL_S", 0.0)
        monkeypatch.setattr(room, "snapshot", lambda: self.looks.pop(0) if len(self.looks) > 1 else self.looks[0])
        monkeypatch.setattr(room, "ask_autoscaler", self.asked.append)

    def wait(self, workers: WorkersConfig) -> None:
        room.wait_for_room(room.bundles(workers), workers.autoscale_s, self.said.append)


def test_room_at_once_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(monkeypatch, [node("a", 1, 4)])
    cluster.wait(WorkersConfig(count=(1, 8)))
    assert not cluster.said and not cluster.asked


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_waiting_can_be_stopped(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    cluster = Cluster(monkeypatch, [node("a", 0, 4)])

    def told(text: str) -> None:
        cluster.said.append(text)
        try:
            signal.raise_signal(number)  # as if in a callback, which would lose an exception
        except BaseException:
            cluster.said.append("lost")

    with pytest.raises(KeyboardInterrupt):
        room.wait_for_room([Bundle("worker", cpus=1)], 5.0, told)
    assert len(cluster.said) == 1 and cluster.asked[-1] == [], "the autoscaler's wish is taken back"
    assert signal.getsignal(number) == before


def test_what_others_hold_is_waited_for_and_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    full = [node("a", 0, 4), node("b", 1, 4)]
    cluster = Cluster(monkeypatch, full, full, full, [node("a", 2, 4), node("b", 1, 4)])
    cluster.wait(WorkersConfig(count=(3, 8)))
    assert cluster.said == [
        "waiting for room on the cluster: needs 3 x worker (1 CPU each) but there is room for 1 now; "
        "other jobs use the rest",
        "there is room now",
    ]


@pytest.mark.parametrize(
    ("workers", "told"),
    [
        (WorkersConfig(count=9), "it needs 9 x worker (1 CPU each) but there is room for 8; the nearest node, a, lacks "
         "CPU (1 asked, 0 left); the largest that fits is workers.count=8\n"),
        (WorkersConfig(cpus=5), "it needs worker (5 CPU each) but there is room for 0; the nearest node, a, lacks CPU "
         "(5 asked, 4 left)\n"),
        (WorkersConfig(labels={"pool": "spot"}, count=5), "5 x worker (1 CPU each on a node with pool=spot) but there "
         "is room for 4; the nearest node, b, lacks CPU (1 asked, 0 left); the largest that fits is workers.count=4\n"),
        (WorkersConfig(gpu=True), "it needs worker (1 CPU, 1 GPU each) but there is room for 0; the nearest node, a, "
         "lacks GPU (1 asked, 0 left)\n"),
    ],
)  # fmt: skip
def test_what_can_never_fit_is_refused(monkeypatch: pytest.MonkeyPatch, workers: WorkersConfig, told: str) -> None:
    cluster = Cluster(monkeypatch, [node("a", 0, 4), node("b", 4, 4, "spot")])
    with pytest.raises(UserError) as error:
        cluster.wait(workers)
    assert told in str(error.value) and "even with nothing else on it" in str(error.value)
    assert not cluster.asked and not cluster.said


def test_an_autoscaler_is_asked_and_the_wish_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    none = [node("head", 0, 0)]
    cluster = Cluster(monkeypatch, none, none, [*none, node("a", 4, 4)])
    workers = WorkersConfig(count=(1, 8), cpus=4, autoscale_s=900)
    cluster.wait(workers)
    assert cluster.asked == [room.bundles(workers), room.bundles(workers), []]
    assert cluster.said[0].endswith("more nodes were asked of the autoscaler") and len(cluster.said) == 2
    cluster = Cluster(monkeypatch, none)
    with pytest.raises(UserError, match=r"after 0\.05 s of waiting for the autoscaler"):
        cluster.wait(WorkersConfig(cpus=4, autoscale_s=0.05))
    assert cluster.asked[-1] == []


@pytest.mark.parametrize(
    ("learner", "free", "told"),
    [
        (1, 2, "does not fit the cluster: it needs 3 x actor (1 CPU each) but there is room for 1 (others use the rest;"
         " it fits when they have ended); the nearest node, a, lacks CPU (1 asked, 0 left); the largest that fits is "
         "actors.count=1\n"),
        (1, 0, "needs learner (1 CPU each) but there is room for 0 (others use the rest; it fits when they have ended);"
         " the nearest node, a, lacks CPU (1 asked, 0 left)\n"),
        (8, 4, "does not fit the cluster even with nothing else on it: it needs learner (8 CPU each) but there is room "
         "for 0; the nearest node, a, lacks CPU (8 asked, 4 left)\n"),
    ],
)  # fmt: skip
def test_a_run_that_does_not_wait_for_others_is_refused_with_what_is_free(
    monkeypatch: pytest.MonkeyPatch, learner: int, free: int, told: str
) -> None:
    cluster = Cluster(monkeypatch, [node("a", free, 4)])
    needs = [Bundle("learner", cpus=learner), Bundle("actor", cpus=1, count=3)]
    with pytest.raises(UserError) as error:
        room.wait_for_room(needs, 0.0, cluster.said.append, for_others=False)
    assert told in str(error.value) and not cluster.said and not cluster.asked


def test_a_run_that_does_not_wait_for_others_waits_for_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    none = [node("head", 0, 0)]
    cluster = Cluster(monkeypatch, none, [*none, node("a", 1, 4)], [*none, node("a", 1, 4), node("b", 4, 4)])
    needs = [Bundle("learner", cpus=1), Bundle("actor", cpus=1, count=8, at_least=2)]
    found = room.wait_for_room(needs, 900, cluster.said.append, for_others=False)
    assert found.enough and found.count(found.scaling) == 4
    assert cluster.asked == [needs, needs, []] and all("asked of the autoscaler" in text for text in cluster.said[:-1])


def test_a_growing_job_counts_what_is_free_and_its_own() -> None:
    (worker,) = room.bundles(WorkersConfig(count=(1, 8), cpus=2))
    nodes = [node("a", 1, 8), node("b", 3, 8)]
    assert fit([worker], nodes).count(worker) == 1
    held = [("a", {"CPU": 2.0}), ("a", {"CPU": 2.0}), ("lost", {"CPU": 2.0})]
    assert fit([worker], room.with_own(nodes, held)).count(worker) == 3
    assert nodes[0].free == {"CPU": 1}, "the snapshot stays as it was"


def test_the_plan_of_wavenet() -> None:
    words = ("small", "data.folder=x", "workers.count=[1, 4000]", "training.batch=4000")
    enough, text = show_plan(plan, words, "local")
    assert (
        enough
        and re.search(r"^worker +1-4000 +1 ", text, re.MULTILINE)
        and re.search(r"x worker now, the rest as nodes join; the largest that fits is workers.count=\d+$", text)
    )
    with pytest.raises(UserError, match="no preset"):
        plan.needs(["workers.count=2"], None, 0)
    with pytest.raises(UserError, match=r"--given x=1: no figures were measured for this trainer"):
        show_plan(plan, words, "local", ["x=1"])


def test_every_planner_can_be_had() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    planners = project["entry-points"][PLANNERS]
    assert planners.keys() <= project["scripts"].keys() and {"apex-ray", "apex-wavenet"} <= planners.keys()
    for name, where in planners.items():
        assert isinstance(EntryPoint(name, where, PLANNERS).load(), Planner)
