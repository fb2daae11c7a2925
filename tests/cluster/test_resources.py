"""Bundles placed on nodes: tables by hand, and what must hold for any of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.resource_tables import bundle_table, node_table
from cluster.resources import Bundle, Node, emptied, fit, matches

GIB = 2**30


def node(name: str, cpus: float, gpus: float = 0.0, memory: float = 64, labels: dict[str, str] | None = None) -> Node:
    amounts = {"CPU": cpus, "GPU": gpus, "memory": memory * GIB, "object_store_memory": 16.0 * GIB}
    return Node(name, name, amounts, amounts, labels or {})


LEARNER = Bundle("learner", cpus=4, gpus=1, memory_bytes=13 * GIB)


def actors(count: int, at_least: int | None = None, labels: dict[str, str] | None = None) -> Bundle:
    return Bundle("actor", cpus=1, object_store_bytes=GIB // 4, count=count, at_least=at_least, labels=labels or {})


def test_a_table_by_hand() -> None:
    nodes = [node("cpu-1", 8), node("gpu", 8, gpus=1), node("cpu-2", 16)]
    found = fit([LEARNER, actors(20)], nodes)
    # The learner needs the GPU; actors keep away from that node while others have room, the roomier one first.
    assert found.placed == {"learner": {"gpu": 1}, "actor": {"cpu-2": 16, "cpu-1": 4}}
    assert found.whole and found.missing() == ""
    assert found.largest == 16 + 8 + 4, "all cores but the learner's"


def test_only_free_resources_count() -> None:
    gpu = node("gpu", 8, gpus=1)
    busy = Node("gpu", "gpu", {**gpu.free, "GPU": 0.0}, gpu.total)
    found = fit([LEARNER, actors(2)], [busy])
    assert not found.enough and found.count(LEARNER) == 0
    assert found.missing().startswith("learner (4 CPU, 1 GPU, 13.0 GiB of memory each) but there is room for 0")
    assert found.lacking() == "the nearest node, gpu, lacks GPU (1 asked, 0 left)"
    assert fit([LEARNER, actors(2)], emptied([busy])).enough


def test_what_lacks_is_named_with_its_amounts_on_the_node_that_comes_nearest() -> None:
    store = Bundle("learner", cpus=2, object_store_bytes=24 * GIB)
    nodes = [node("small", 1, memory=1), node("large", 8)]
    assert (
        fit([store], nodes).lacking() == "the nearest node, large, lacks object store (24.0 GiB asked, 16.0 GiB left)"
    )
    both = fit([Bundle("learner", cpus=16, memory_bytes=80 * GIB)], nodes).lacking()
    assert both == "the nearest node, large, lacks CPU (16 asked, 8 left) and memory (80.0 GiB asked, 64.0 GiB left)"
    # What was placed before counts, and of several kinds the one that is used up.
    assert fit([actors(12)], nodes).lacking() == "the nearest node, small, lacks CPU (1 asked, 0 left)"
    assert fit([actors(1, labels={"pool": "spot"})], nodes).lacking() == "no node has pool=spot"
    assert fit([actors(1)], []).lacking() == "there is no node"
    assert fit([actors(9)], nodes).lacking() == ""


def test_a_range_is_enough_in_part() -> None:
    found = fit([Bundle("learner", cpus=1), actors(8, at_least=2)], [node("a", 4)])
    assert found.enough and not found.whole and found.count(found.bundles[-1]) == found.largest == 3
    assert not fit([Bundle("learner", cpus=1), actors(8, at_least=4)], [node("a", 4)]).enough


def test_memory_limits_how_many_bundles_fit_a_node() -> None:
    found = fit([Bundle("replay", memory_bytes=40 * GIB, count=3)], [node("a", 64, memory=100)])
    assert found.placed["replay"] == {"a": 2} and "3 x replay" in found.missing()
    assert fit([actors(100)], [node("a", 100)]).largest == 64, "object store: 64 quarters of a GiB"


def test_bundles_go_only_to_nodes_with_their_labels() -> None:
    spot, other = node("spot", 4, labels={"pool": "spot"}), node("other", 8)
    found = fit(
        [Bundle("learner", cpus=1, labels={"pool": "!spot"}), actors(6, labels={"pool": "spot"})], [spot, other]
    )
    assert found.placed == {"learner": {"other": 1}, "actor": {"spot": 4}}
    assert "on a node with pool=spot" in found.missing()


@pytest.mark.parametrize(
    ("selector", "there"),
    [
        ({}, True),
        ({"zone": "a"}, True),
        ({"zone": "b"}, False),
        ({"zone": "!b"}, True),
        ({"zone": "!a"}, False),
        ({"zone": "in(b, a)"}, True),
        ({"zone": "!in(b, a)"}, False),
        ({"zone": "in(b,c)"}, False),
        ({"missing": "a"}, False),
        ({"missing": "!a"}, True),
        ({"zone": "a", "missing": "a"}, False),
    ],
)
def test_label_selectors(selector: dict[str, str], there: bool) -> None:
    assert matches({"zone": "a", "pool": "spot"}, selector) is there


amounts = st.integers(0, 6)
some_nodes = st.lists(st.tuples(amounts, st.integers(0, 2), amounts), min_size=1, max_size=4)
some_bundles = st.lists(st.tuples(amounts, st.integers(0, 1), amounts, st.integers(0, 5)), min_size=1, max_size=4)


@given(some_nodes, some_bundles)
def test_no_node_gives_more_than_it_has_and_none_is_left_with_room(
    machines: list[tuple[int, int, int]], wanted: list[tuple[int, int, int, int]]
) -> None:
    nodes = [node(str(i), c, g, m) for i, (c, g, m) in enumerate(machines)]
    bundles = [Bundle(f"b{i}", cpus=c, gpus=g, memory_bytes=m * GIB, count=n) for i, (c, g, m, n) in enumerate(wanted)]
    found = fit(bundles, nodes)
    for n in nodes:
        left = dict(n.free)
        for bundle in bundles:
            for kind, amount in (bundle.needs | bundle.scheduled).items():
                left[kind] -= amount * found.placed[bundle.name].get(n.id, 0)
        assert min(left.values()) >= 0
        last = bundles[-1]
        if found.count(last) < last.count:
            assert any(left[kind] < amount for kind, amount in (last.needs | last.scheduled).items()), (
                "a place was missed"
            )
    assert found.whole == (found.enough and all(found.count(b) == b.count for b in bundles))
    assert found.largest >= found.count(bundles[-1])


def test_the_tables_name_all_of_it() -> None:
    found = fit([LEARNER, actors(3, at_least=1)], [node("10.0.0.1 (head)", 4, gpus=1), node("10.0.0.2", 2)])
    needs = bundle_table(found.bundles).splitlines()
    assert needs[0].split()[:4] == ["bundle", "count", "CPU", "GPU"]
    assert needs[1].split() == ["learner", "1", "4", "1", "13.0", "GiB", "-"]
    assert needs[2].split() == ["actor", "1-3", "1", "0", "-", "256", "MiB"]
    assert needs[3].split() == ["together", "4", "7", "1", "13.0", "GiB", "768", "MiB"]
    rows = node_table(found).splitlines()
    assert rows[1].startswith("10.0.0.1 (head)  4 of 4") and rows[1].endswith("learner")
    assert rows[2].startswith("10.0.0.2") and rows[2].endswith("2 x actor")
