"""Which nodes have a helper of a kind, and for how long."""

import pytest

from apex_ray.nodes import per_node
from apex_ray.nodes.per_node import LINGERS_S, Helper, PerNode


def make(number):
    return Helper(f"relay {number}", f"handle {number}")


@pytest.fixture
def now(monkeypatch):
    """The time in seconds, as a list of one."""
    found = [0.0]
    monkeypatch.setattr(per_node.time, "monotonic", lambda: found[0])
    return found


def test_a_node_that_is_to_have_one_has_one_for_all_its_actors_and_is_asked_once():
    asked, made = [], []

    def wanted(node):
        asked.append(node)
        return node != "head"

    def make_one(number):
        made.append(number)
        return make(number)

    found = PerNode(wanted)
    assert [found.of(node, make_one) for node in ("a", "head", "b", "a", "head")] == [
        "handle 0", None, "handle 1", "handle 0", None
    ]  # fmt: skip
    assert asked == ["a", "head", "b"] and made == [0, 1] and found.names == {"a": "relay 0", "b": "relay 1"}


def test_it_stays_for_a_while_after_the_last_actor_and_for_one_that_comes_meanwhile(now):
    found = PerNode(lambda node: True)
    for node in ("a", "b"):
        found.of(node, make)
        found.left(node)
    now[0] = 0.5 * LINGERS_S
    assert found.to_end() == []
    found.of("b", lambda number: pytest.fail("it is still there"))
    now[0] = 2 * LINGERS_S
    assert [helper.name for helper in found.to_end()] == ["relay 0"] and found.to_end() == []
    assert found.names == {"b": "relay 1"}
    assert found.of("a", make) == "handle 2", "a new one, of another name"


def test_one_that_is_given_up_is_ended_when_its_actors_have_been(now):
    found = PerNode(lambda node: True)
    found.of("a", make)
    found.retire("a")
    found.retire("b")
    assert found.of("a", make) == "handle 1" and found.to_end() == []
    now[0] = 2 * LINGERS_S
    assert [helper.name for helper in found.to_end()] == ["relay 0"] and found.names == {"a": "relay 1"}
