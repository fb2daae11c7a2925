"""Who is told to talk to whom, and what becomes of it when a node's helper is lost; test_relay_runs.py has it on a real
Ray.
"""

import math
from functools import partial
from types import SimpleNamespace

import pytest

from apex_ray.nodes import crew as crew_module
from apex_ray.nodes import fleet, per_node
from apex_ray.nodes.cluster_nodes import ClusterNodes
from apex_ray.nodes.crew import GIVEN_UP_S, LATER_S, Crew
from apex_ray.nodes.launch import Nodes
from apex_ray.nodes.per_node import LINGERS_S
from apex_ray.nodes.processes import Process
from apex_ray.nodes.stall import INFERENCE, LEARNER
from apex_ray.talk import FEW_ACTORS
from tests.apex_ray.runs import cartpole


class Handle:
    """Notes its calls, (method, arguments); what each gives is its number."""

    def __init__(self, name):
        self.name, self.calls = name, []

    def __getattr__(self, method):
        def call(*given):
            self.calls.append((method, *given))
            return f"{self.name}.{method} {len(self.calls)}"

        return SimpleNamespace(remote=call)


class Watching:
    """Stands for the supervisor."""

    def __init__(self):
        self.watched, self.kept, self.spent, self.dropped, self.ended = {}, {}, [], [], []

    def watch(self, call, watched):
        self.watched[watched.name] = watched

    def keep(self, name, handle, restored, gone):
        self.kept[name] = SimpleNamespace(handle=handle, restored=restored, gone=gone)
        return handle

    def drop(self, *names):
        self.dropped += names

    def kill_hung(self, name, why):
        self.ended.append(name)
        return name in self.kept

    def say_hung(self, name, why, processes):
        pass

    def spend_restart(self, name, error):
        self.spent.append((name, str(error)))


@pytest.fixture
def made(crew_of):
    """A crew of 12 actors on a cluster of three nodes with room for 8 each."""
    return crew_of()


@pytest.fixture
def crew_of(monkeypatch):
    return partial(make_crew, monkeypatch)


def make_crew(monkeypatch, count=12, room=8, inference="local", central=None):
    has = {"Alive": True, "Resources": {"CPU": float(room)}}
    there = {name: {"NodeID": name, "NodeManagerAddress": f"{name}.net", **has} for name in ("head", "a", "b")}
    killed, now = [], SimpleNamespace(s=0.0)
    monkeypatch.setattr(crew_module, "ClusterNodes", lambda: ClusterNodes(lambda: list(there.values())))
    monkeypatch.setattr("apex_ray.nodes.cluster_nodes.LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(per_node, "time", SimpleNamespace(monotonic=lambda: now.s))
    for module in (crew_module, fleet):
        monkeypatch.setattr(module, "ray", SimpleNamespace(kill=lambda handle: killed.append(handle.name)))
    monkeypatch.setattr(fleet, "has_ended", lambda call: False)
    actors = []

    def actor(index, generation):
        actors.append(Handle(f"actor {index}"))
        return actors[-1]

    launch = SimpleNamespace(
        actor=actor,
        relay=lambda number, name, node: Handle(f"{name} [{node}]"),
        inference_of=lambda number, name, node: Handle(f"{name} [{node}]"),
        home=lambda: "head",
        actors_of=lambda cpus: int(cpus),
    )
    nodes = Nodes(["shard"], "weights", Handle("metrics"), None, None, central)
    supervisor, site = Watching(), SimpleNamespace(sizes=SimpleNamespace(actors=count, min_actors=1), here=False)
    crew = Crew(cartpole(actors={"inference": inference}), site, launch, nodes, supervisor, 0, lambda line: None)

    def start(index, node):
        """Actor `index` has come up there: what it was told."""
        process = Process(node, index, f"{index}")
        assert supervisor.watched[f"actor {index}"].follow(process) == f"actor {index}.run 3"
        _, begun, _ = actors[-1].calls if len(actors) > count else actors[index].calls
        return begun

    return SimpleNamespace(
        crew=crew, supervisor=supervisor, metrics=nodes.metrics, there=there, killed=killed, now=now, start=start
    )


def named(handle):
    return handle if isinstance(handle, str) else handle.name


def told(begun):
    """(who gives weights, who takes reports) as a call to begin has it."""
    _, shards, weights, metrics, central = begun
    assert shards == ["shard"] and central is None
    return named(weights), named(metrics)


@pytest.mark.parametrize(
    ("count", "room", "node", "has"),
    [
        (64, 64, "a", True),
        (64, FEW_ACTORS, "a", False),
        (FEW_ACTORS, 64, "a", False),
        (FEW_ACTORS + 1, FEW_ACTORS + 1, "a", True),
        (64, 64, "head", False),
    ],
)
def test_a_node_has_a_relay_where_it_may_hold_more_than_a_few_actors(crew_of, count, room, node, has):
    made = crew_of(count, room)
    assert told(made.start(0, node))[0] == (f"relay 0 on {node}.net [{node}]" if has else "weights")


def test_each_node_with_actors_has_its_own_inference_where_it_is_asked_for(crew_of):
    made = crew_of(3, inference="node")
    asked = [made.start(index, node)[-1].name for index, node in enumerate(("a", "head", "a"))]
    assert asked == ["inference 0 on a.net [a]", "inference 1 on head.net [head]", "inference 0 on a.net [a]"]
    assert sorted(made.supervisor.kept) == ["inference 0 on a.net", "inference 1 on head.net"]


def test_inference_that_does_not_come_back_is_given_up_and_the_relay_beside_it_stays(crew_of):
    made = crew_of(inference="node")
    made.start(0, "a")
    lost = "inference 0 on a.net"
    assert made.supervisor.kept[lost].gone(GIVEN_UP_S) and made.supervisor.spent[0][0] == lost
    assert made.killed == ["actor 0"]
    made.supervisor.watched["actor 0"].restart()
    begun = made.start(0, "a")
    assert [named(handle) for handle in begun[2:]] == [
        "relay 0 on a.net [a]", "relay 0 on a.net [a]", "inference 1 on a.net [a]"
    ]  # fmt: skip
    made.now.s += 2 * LINGERS_S
    made.crew.check()
    assert made.supervisor.dropped == [lost] and made.killed[-1] == f"{lost} [a]"


def test_a_node_s_helpers_end_a_while_after_its_last_actor(crew_of):
    made = crew_of(inference="node")
    made.start(0, "a")
    made.supervisor.watched["actor 0"].restart()
    made.now.s += 2 * LINGERS_S
    made.crew.check()
    assert made.supervisor.dropped == ["relay 0 on a.net", "inference 0 on a.net"]


def test_when_all_actors_are_ended_nobody_takes_them_for_lost(made):
    made.start(0, "a")
    made.crew.end()
    assert set(made.supervisor.dropped) == set(made.supervisor.watched) == {f"actor {i}" for i in range(12)}
    assert len(made.killed) == 12


def test_actors_talk_to_their_node_s_relay_and_at_home_to_weights_and_metrics_themselves(made):
    assert told(made.start(0, "head")) == ("weights", "metrics")
    assert told(made.start(1, "a")) == told(made.start(2, "a")) == ("relay 0 on a.net [a]",) * 2
    assert told(made.start(3, "b")) == ("relay 1 on b.net [b]",) * 2
    assert made.crew.fleet.running == 4 and sorted(made.supervisor.kept) == ["relay 0 on a.net", "relay 1 on b.net"]
    assert made.supervisor.watched["actor 1"].follow(None) is None, "its loop has ended"


def test_a_relay_that_ray_starts_anew_has_not_reported_yet(made):
    made.start(1, "a")
    made.supervisor.kept["relay 0 on a.net"].restored()
    assert made.metrics.calls == [("forget", "relay 0 on a.net")]


def test_a_relay_whose_node_is_lost_is_not_waited_for(made):
    made.start(1, "a")
    gone = made.supervisor.kept["relay 0 on a.net"].gone
    assert not gone(1.0)
    made.there["a"]["Alive"] = False
    assert gone(2.0) and not made.supervisor.spent and made.killed == []


def test_a_relay_that_does_not_come_back_is_given_up_and_its_actors_start_anew(made):
    for index, node in enumerate(("a", "a", "b")):
        made.start(index, node)
    gone = made.supervisor.kept["relay 0 on a.net"].gone
    assert not gone(0.9 * GIVEN_UP_S) and gone(GIVEN_UP_S)
    assert made.supervisor.spent == [("relay 0 on a.net", f"it is not back after {GIVEN_UP_S:.0f} s")]
    assert made.killed == ["actor 0", "actor 1"]
    watched = made.supervisor.watched["actor 0"]
    assert watched.gone().dismissed, "which costs the actors nothing"
    watched.restart()
    assert told(made.start(0, "a")) == ("relay 2 on a.net [a]",) * 2
    made.crew.check()
    assert "relay 0 on a.net" not in made.supervisor.dropped
    made.now.s += 2 * LINGERS_S
    made.crew.check()
    assert made.supervisor.dropped == ["relay 0 on a.net"] and made.killed[-1] == "relay 0 on a.net [a]"


def test_a_relay_ends_a_while_after_its_last_actor(made):
    for index in (0, 1):
        made.start(index, "a")
    made.supervisor.watched["actor 0"].restart()
    made.now.s += 2 * LINGERS_S
    made.crew.check()
    assert not made.supervisor.dropped, "one is still there"
    made.supervisor.watched["actor 1"].restart()
    made.now.s += 2 * LINGERS_S
    made.crew.check()
    assert made.supervisor.dropped == ["relay 0 on a.net"]
    assert ("forget", "relay 0 on a.net") in made.metrics.calls


def test_silence_is_that_of_parts_that_are_there(made):
    made.start(0, "head")
    made.start(1, "a")
    reported_s = {LEARNER: 1.0, "actor 0": 2.0, "actor 7": 900.0, "relay 0 on a.net": 3.0, "relay 9 on z.net": 900.0}
    assert made.crew.silent_s(reported_s) == {
        LEARNER: 1.0, "actor 0": 2.0, "actor 1": math.inf, "relay 0 on a.net": 3.0
    }  # fmt: skip


def test_where_a_relay_hangs_its_actors_are_left_alone(made):
    for index, node in enumerate(("a", "a", "b")):
        made.start(index, node)
    made.crew.end_hung(dict.fromkeys(("relay 0 on a.net", "actor 0", "actor 2", LEARNER), "silent"))
    assert made.supervisor.ended == ["relay 0 on a.net", "actor 2", LEARNER] and made.killed == ["actor 2"]


def test_where_what_infers_on_a_node_hangs_its_relay_and_its_actors_are_left_alone(crew_of):
    made = crew_of(inference="node")
    for index, node in enumerate(("a", "a", "b")):
        made.start(index, node)
    hung = ("inference 0 on a.net", "relay 0 on a.net", "actor 0", "actor 1", "actor 2")
    made.crew.end_hung(dict.fromkeys(hung, "silent"))
    assert made.supervisor.ended == ["inference 0 on a.net", "actor 2"]


def test_where_what_infers_for_all_hangs_nobody_else_is_ended(crew_of):
    made = crew_of(inference="central", central="central")
    made.start(0, "head")
    made.start(1, "a")
    made.crew.end_hung(dict.fromkeys(("actor 0", "actor 1", "relay 0 on a.net", INFERENCE), "silent"))
    assert made.supervisor.ended == [INFERENCE]


def test_who_waits_for_another_part_is_found_silent_after_it(crew_of):
    made = crew_of(inference="node")
    made.start(0, "head")
    made.start(1, "a")
    parts = (LEARNER, "actor 0", "actor 1", "relay 0 on a.net", "inference 1 on a.net")
    found = made.crew.silent_s(dict.fromkeys(parts, 10.0))
    assert [found[part] for part in parts] == [10.0, 10.0 - LATER_S, 10.0 - 2 * LATER_S, 10.0 - LATER_S, 10.0]
