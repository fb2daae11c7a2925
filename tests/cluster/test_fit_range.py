"""Jobs with a range on nodes whose shared memory is the limit: by hand, and against trying every number."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cluster.fit_range import bounded, fit_range, resized
from cluster.resources import Bundle, Node, fit

GIB = 2**30


def node(name: str, cpus: float, store_gib: float) -> Node:
    amounts = {"CPU": cpus, "object_store_memory": store_gib * GIB}
    return Node(name, name, amounts, amounts)


def needs(fewest: int, most: int, each: int = GIB, shards: int = 1) -> list[Bundle]:
    """A learner with a GiB of batches and the chunks of all actors, which are also beside each actor."""
    share = each // shards
    replay = [Bundle("replay", object_store_bytes=most * share, count=shards - 1, scaling_bytes=share)]
    return [
        Bundle("learner", cpus=1, object_store_bytes=GIB + most * share, scaling_bytes=share),
        *(replay if shards > 1 else []),
        Bundle("actor", cpus=1, object_store_bytes=each, count=most, at_least=fewest),
    ]


def test_a_range_that_fits_its_lower_end_only_is_bounded_by_the_learners_memory() -> None:
    wanted = needs(1, 64)
    found = fit_range(wanted, [node("a", 2, 10)])
    # One actor has a CPU, and its GiB; beside that and the batches, chunks of 8 fit.
    assert found.enough and found.count(found.scaling) == 1 and found.scaling.count == 8
    assert found.bundles[0].object_store_bytes == 9 * GIB and found.scaling.minimum == 1
    assert bounded(wanted, found).startswith("it grows to 8 of 64 x actor at most")


def test_more_actors_now_are_better_than_more_later() -> None:
    found = fit_range(needs(1, 64), [node("a", 16, 9)])
    assert found.whole and found.scaling.count == 4, "1 of batches, 4 of chunks on their way, 4 beside the actors"


def test_a_growing_cluster_may_have_all_that_the_learners_node_holds() -> None:
    wanted = needs(2, 16)
    found = fit_range(wanted, [node("a", 4, 40)])
    assert found.enough and found.count(found.scaling) == 3 and found.scaling.count == 16
    assert not bounded(wanted, found)


def test_a_range_is_refused_for_its_lower_end_and_says_what_that_lacks() -> None:
    found = fit_range(needs(8, 64), [node("a", 64, 6)])
    assert not found.enough and found.scaling.count == 8
    assert found.missing().startswith("learner (1 CPU, 9.0 GiB of object store each)")
    assert not bounded(needs(8, 64), found)
    assert found.lacking() == "the nearest node, a, lacks object store (9.0 GiB asked, 6.0 GiB left)"


def test_a_number_stays_as_it_was_asked_for() -> None:
    wanted = needs(64, 64)
    assert fit_range(wanted, [node("a", 2, 10)]).bundles == wanted


def test_replay_shards_shrink_too() -> None:
    assert resized(needs(1, 8, shards=4), 2) == [
        *(b for b in needs(1, 2, shards=4)[:-1]),
        Bundle("actor", cpus=1, object_store_bytes=GIB, count=2, at_least=1),
    ]


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 12)), min_size=1, max_size=3),
    st.integers(1, 4),
    st.integers(0, 8),
    st.integers(1, 2),
)
def test_as_trying_every_number(machines: list[tuple[int, int]], fewest: int, more: int, shards: int) -> None:
    nodes = [node(str(i), cpus, store) for i, (cpus, store) in enumerate(machines)]
    wanted = needs(fewest, fewest + more, shards=shards)
    tried = {n: fit(resized(wanted, n), nodes) for n in range(fewest, fewest + more + 1)}
    found = fit_range(wanted, nodes)
    assert found.enough or not tried[fewest].enough, "refused for its lower end, and for nothing else"
    # On several nodes a larger number may be packed better than the lower end is, and then counts.
    assert found.enough == tried[found.scaling.count].enough
    if len(nodes) == 1:
        assert found.enough == tried[fewest].enough
    if found.enough and len(nodes) == 1:
        now = max(f.count(f.scaling) for f in tried.values() if f.enough)
        most = max(n for n, f in tried.items() if f.enough and f.count(f.scaling) == now)
        assert (found.count(found.scaling), found.scaling.count) == (now, most)
