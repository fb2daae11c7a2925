"""A node's relay, and what metrics make of what comes by it; test_relay_lost.py has it on a real Ray."""

import asyncio
from concurrent.futures import Future
from types import SimpleNamespace

import numpy as np
import pytest
from ray.exceptions import RayActorError

from apex_ray.nodes import relay_node
from apex_ray.nodes.cluster_nodes import ClusterNodes
from apex_ray.nodes.metrics_node import MetricsNode
from apex_ray.nodes.relay_node import RelayNode
from apex_ray.nodes.supervise import Supervisor, Watched
from apex_ray.report.tally import NUMBERS, ActorReport
from apex_ray.talk import ASK_EVERY_S, GATHER_S
from apex_ray.types import Counters, EpisodeEnd, Weights


class Remote:
    """A method of a handle: it answers when it is told to."""

    def __init__(self):
        self.calls, self._answers = [], []

    def remote(self, *given):
        self.calls.append(given)
        self._answers.append(asyncio.get_running_loop().create_future())
        return self._answers[-1]

    async def answer(self, value):
        """To the oldest call; whoever waits for it goes on."""
        answer = self._answers.pop(0)
        if isinstance(value, Exception):
            answer.set_exception(value)
        else:
            answer.set_result(value)
        await settled()


async def settled():
    """Whatever can go on has; a thread may have been asked something."""
    for _ in range(20):
        await asyncio.sleep(0.001)


@pytest.fixture
def relay(monkeypatch):
    """A relay with a clock of its own. `weights` holds parameters themselves where Ray would have a reference."""
    clock = SimpleNamespace(now=100.0)

    async def sleep(seconds):
        clock.now += max(seconds, 0.0)

    monkeypatch.setattr(relay_node, "time", SimpleNamespace(monotonic=lambda: clock.now))
    names = ("get_running_loop", "shield", "Task", "Future")
    monkeypatch.setattr(
        relay_node, "asyncio", SimpleNamespace(sleep=sleep, **{name: getattr(asyncio, name) for name in names})
    )
    monkeypatch.setattr(relay_node, "fetch", lambda answer: answer and Weights(answer[0], answer[1][0]))
    monkeypatch.setattr(relay_node.ray, "put", lambda params: f"copy of {params}")
    holder, metrics = SimpleNamespace(latest=Remote()), SimpleNamespace(relayed=Remote(), say=Remote())
    made = RelayNode("relay 0", lambda: holder, lambda: metrics)
    return SimpleNamespace(node=made, clock=clock, latest=holder.latest, relayed=metrics.relayed)


def test_actors_that_ask_at_once_cost_the_holder_one_question_and_the_node_one_copy(relay):
    async def run():
        asking = [asyncio.create_task(relay.node.latest(-1)) for _ in range(20)]
        await settled()
        assert relay.latest.calls == [(-1,)]
        await relay.latest.answer((7, ["w7"]))
        return await asyncio.gather(*asking), await relay.node.latest(3)

    answers, later = asyncio.run(run())
    assert answers == [(7, ["copy of w7"])] * 20 and later == (7, ["copy of w7"])
    assert len(relay.latest.calls) == 1, "who has older ones gets what is here already"


def test_actors_with_the_newest_weights_have_the_holder_asked_now_and_then(relay):
    async def run():
        found = []
        for version in (7, None, 8):
            asking = [asyncio.create_task(relay.node.latest(7)) for _ in range(3)]
            await settled()
            asked_at = relay.clock.now
            await relay.latest.answer(version and (version, [f"w{version}"]))
            found.append((asked_at, await asyncio.gather(*asking)))
        return found

    none, newest = [None] * 3, [(8, ["copy of w8"])] * 3
    every = ASK_EVERY_S
    assert asyncio.run(run()) == [(100.0, none), (100.0 + every, none), (100.0 + 2 * every, newest)]
    assert relay.latest.calls == [(-1,), (7,), (7,)]


def test_weights_that_went_with_their_holder_leave_those_of_before(relay, monkeypatch):
    async def run():
        asking = asyncio.create_task(relay.node.latest(-1))
        await settled()
        await relay.latest.answer((7, ["w7"]))
        await asking
        monkeypatch.setattr(relay_node, "fetch", lambda answer: None)
        asking = asyncio.create_task(relay.node.latest(7))
        await settled()
        await relay.latest.answer((8, ["lost"]))
        return await asking, await relay.node.latest(6)

    assert asyncio.run(run()) == (None, (7, ["copy of w7"]))


def report(actor, number, steps=10, episodes=0):
    return ActorReport(actor, steps, 0, 0.0, 1.0, [EpisodeEnd(1.0, 5, 0.4)] * episodes, number)


def test_reports_are_sent_together_and_answered_when_metrics_have_them(relay):
    async def run():
        first = asyncio.create_task(relay.node.actor(report(0, 0)))
        await settled()
        others = [asyncio.create_task(relay.node.actor(report(i, 0))) for i in range(1, 6)]
        await settled()
        assert relay.relayed.calls == [("relay 0", [report(0, 0)])], "the others gather while it is under way"
        assert not first.done()
        await relay.relayed.answer([False])
        assert first.done() and not any(other.done() for other in others)
        assert relay.relayed.calls[1:] == [("relay 0", [report(i, 0) for i in range(1, 6)])]
        assert relay.clock.now == 100.0 + GATHER_S
        await relay.relayed.answer([False, True, False, False, True])
        return [await first, *[await other for other in others]]

    assert asyncio.run(run()) == [False, False, True, False, False, True]


def test_reports_that_metrics_were_lost_with_are_dropped_and_the_next_ones_sent(relay):
    async def run():
        lost = asyncio.create_task(relay.node.actor(report(0, 0)))
        await settled()
        await relay.relayed.answer(RayActorError())
        following = asyncio.create_task(relay.node.actor(report(0, 1)))
        await settled()
        await relay.relayed.answer([True])
        return await lost, await following

    assert asyncio.run(run()) == (False, True)


def test_an_error_of_metrics_reaches_all_who_reported(relay):
    async def run():
        reporting = [asyncio.create_task(relay.node.actor(report(i, 0))) for i in range(2)]
        await settled()
        await relay.relayed.answer(KeyError("band"))
        return await asyncio.gather(*reporting, return_exceptions=True)

    assert [type(error) for error in asyncio.run(run())] == [KeyError, KeyError]


@pytest.fixture
def metrics():
    return MetricsNode(np.full(8, 0.4, np.float32), 4)


def test_a_report_that_a_relay_sends_again_counts_once_in_whatever_order_they_come(metrics):
    metrics.relayed("relay 0", [report(0, 0, 10, 1), report(1, 0, 20)])
    metrics.relayed("relay 0", [report(0, 2, 1), report(0, 0, 10, 1), report(1, 0, 20), report(0, 1, 100, 2)])
    row, silent_s = metrics.row(Counters())
    assert row["frames"] == 4 * (10 + 20 + 100 + 1) and row["episodes"] == 3
    assert set(silent_s) == {"actor 0", "actor 1", "relay 0"}


def test_what_has_nothing_to_report_says_that_it_works_until_it_is_forgotten(metrics):
    metrics.works("inference 0")
    assert set(metrics.row(Counters())[1]) == {"inference 0"}
    metrics.forget("inference 0")
    assert not metrics.row(Counters())[1]


def test_each_actor_is_told_whether_it_is_to_leave(metrics):
    metrics.dismiss(["actor 1", "actor 2"])
    assert metrics.relayed("relay 0", [report(i, 0) for i in (2, 0, 1)]) == [True, False, True]
    metrics.forget("actor 2")
    assert metrics.relayed("relay 0", [report(2, NUMBERS)]) == [False]


def test_a_report_that_comes_after_its_actor_was_lost_counts_and_is_no_word_of_the_next_one(metrics):
    metrics.actor(report(0, 0))
    metrics.forget("actor 0")
    metrics.relayed("relay 0", [report(0, 1)])
    row, silent_s = metrics.row(Counters())
    assert row["frames"] == 4 * 20 and "actor 0" not in silent_s
    metrics.actor(report(0, NUMBERS))
    assert "actor 0" in metrics.row(Counters())[1]


def test_the_cluster_is_looked_at_once_for_all_that_a_lost_node_took_along(monkeypatch):
    now, looks = [10.0], []
    monkeypatch.setattr("apex_ray.nodes.cluster_nodes.time.monotonic", lambda: now[0])

    def look():
        looks.append(now[0])
        there = {"NodeID": "a", "NodeManagerAddress": "10.0.0.1", "Alive": now[0] < 12, "Resources": {"CPU": 8.0}}
        return [there]

    nodes = ClusterNodes(look)
    assert [nodes.lost("a") for _ in range(100)] == [None] * 100 and nodes.cpus("a") == 8.0
    assert len(looks) == 1 and nodes.address("a") == "10.0.0.1" and nodes.lost(None) is None
    now[0] = 12.0
    assert [nodes.lost("a") for _ in range(100)] == ["10.0.0.1"] * 100 and nodes.cpus("a") == 0.0
    assert len(looks) == 2


class Call:
    """A call to a process: `ObjectRef` as far as the driver looks at it before it has ended."""

    def __init__(self):
        self.asked, self.ends = 0, Future()

    def future(self):
        self.asked += 1
        return self.ends


def test_a_driver_asks_about_no_actor_while_none_ends(tmp_path, monkeypatch):
    calls = [Call() for _ in range(1_000)]
    supervisor = Supervisor(tmp_path, max_restarts=0, say=pytest.fail)
    for index, call in enumerate(calls):
        supervisor.watch(call, Watched(f"actor {index}", None, follow=lambda _: Call()))
    for forbidden in ("wait", "get"):
        monkeypatch.setattr(f"apex_ray.nodes.supervise.ray.{forbidden}", lambda *given, **options: pytest.fail("asked"))
    for _ in range(10):
        supervisor.check(timeout_s=0.0)
    assert {call.asked for call in calls} == {1}
    got = []
    monkeypatch.setattr("apex_ray.nodes.supervise.ray.get", got.append)
    calls[3].ends.set_result(None)
    supervisor.check(timeout_s=5.0)
    assert got == [calls[3]], "the one that has ended, at once"
