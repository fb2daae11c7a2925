"""What a plan expects of a run, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apex_ray.config.load import load
from apex_ray.demand import places
from apex_ray.estimate import Estimate, Part, Places, estimate, in_words
from apex_ray.measured import measured
from apex_ray.sizes import resolve_sizes
from apex_ray.talk import ASK_EVERY_S, FEW_ACTORS, GATHER_S
from apex_ray.types import EnvSpec
from cluster.resources import Bundle, Node, fit
from trainkit.errors import UserError

PONG = EnvSpec.of_frames("ALE/Pong-v5", (84, 84), "uint8", 4, 6, 4)
KNOWN = (
    "actor_steps_per_s=3200", "insert_transitions_per_s=1000000", "sample_transitions_per_s=100000",
    "samples_per_s=12800", "weights_bytes=1000000",
    *(f"{figure}=null" for figure in (
        "shard_bytes_per_s", "weights_core_s", "report_core_s", "relayed_report_core_s", "relay_core_s",
    )),
)  # fmt: skip


def of(*words: str, at: Places | None = None, given: tuple[str, ...] = (), preset: str = "pong") -> Estimate:
    config = load(preset, words).config
    sizes = resolve_sizes(config, PONG, 64)
    at = at or Places("a", ["a"] * config.replay.shards, {"b": sizes.actors})
    return estimate(config, PONG, sizes, at, False, 1000.0, measured([*KNOWN, *given]))


def part(found: Estimate, name: str) -> Part:
    (one,) = [part for part in found.parts if part.name.startswith(name)]
    return one


def test_actors_make_no_more_steps_than_the_learner_samples_by_the_ratio() -> None:
    found = of("actors.count=4")  # 4 samples an insert
    assert found.steps_per_s == pytest.approx(12_800 / 4, rel=1e-6) and found.wanted_steps_per_s == 4 * 3_200
    assert found.wall is not None and found.wall.name == "learner" and found.wall.share == pytest.approx(1.0)
    one = of("actors.count=1", "replay.samples_per_insert=2")
    assert one.steps_per_s == 3_200 and part(one, "learner").share == 0.5


def test_a_measured_learner_counts_once_for_each_worker() -> None:
    one, two = (of("actors.count=4", f"learner.workers={n}", given=("samples_per_s=null",)) for n in (1, 2))
    assert two.samples_per_s == 2 * one.samples_per_s > 0
    assert of("actors.count=4", "learner.workers=2").samples_per_s == 12_800, "what is given is all of them"


def test_without_a_ratio_nobody_waits_for_the_learner() -> None:
    found = of("actors.count=4", "replay.samples_per_insert=null")
    assert found.steps_per_s == found.wanted_steps_per_s == 12_800
    assert "learner" not in [part.name for part in found.parts]
    assert part(found, "a shard").work == pytest.approx(12_800 / 1e6 + 12_800 / 1e5)


def test_a_shard_that_is_busy_with_both_holds_actors_up_and_more_shards_less() -> None:
    free, fast = "replay.samples_per_insert=null", "replay.capacity_transitions=20_000_000"
    one = of("actors.count=1000", free, fast, given=("samples_per_s=50000",))
    assert one.steps_per_s == pytest.approx(500_000)  # half of its time goes to samples
    assert one.wall is not None and one.wall.name.startswith("a shard")
    two = of("actors.count=1000", free, fast, "replay.shards=2", given=("samples_per_s=50000",))
    assert two.steps_per_s == pytest.approx(1_500_000)


def test_bytes_on_the_way_follow_from_chunks_and_places() -> None:
    free = ("actors.count=4", "replay.samples_per_insert=null", "replay.shards=2")
    config = load("pong", free).config
    sizes = resolve_sizes(config, PONG, 64)
    made = 12_800 / 32 / 100 * sizes.chunk_bytes  # a chunk has 100 steps of each of 32 environments
    sample = sizes.batch_bytes / 64
    at = Places("a", ["a", "b"], {"a": 1, "c": 3})
    found = of(*free, at=at)
    assert part(found, "bytes into").work == pytest.approx(made / 2)
    into = part(found, "network into")
    # into a: half of what the 3 on c make, and the half of the samples that b has; into b: half of everything
    assert into.name == "network into a" and into.work == pytest.approx(made / 2 * 3 / 4 + 12_800 / 2 * sample)
    assert into.most is None
    assert part(of(*free, at=at, given=("samples_per_s=1",)), "network into").name == "network into b"
    given = ("link_gbit_per_s=0.08", "samples_per_s=1")
    slow = of(*free, at=at, given=given)
    assert slow.wall is not None and slow.wall.name == "network into b"
    assert slow.steps_per_s == pytest.approx(12_800 * 1e7 / (made / 2), rel=1e-6)


def test_a_network_that_samples_alone_fill_is_the_wall_and_not_what_actors_wait_for() -> None:
    at = Places("a", ["a", "b"], {"a": 4})
    found = of("actors.count=4", "replay.samples_per_insert=null", "replay.shards=2", at=at,
               given=("link_gbit_per_s=0.1", "samples_per_s=50000"))  # fmt: skip
    assert found.wall is not None and found.wall.name == "network into a" and (found.wall.share or 0) > 1
    assert found.steps_per_s == found.wanted_steps_per_s


def test_every_other_node_with_actors_gets_every_version_of_the_weights() -> None:
    free = ("actors.count=6", "replay.samples_per_insert=null")
    found = of(*free, at=Places("a", ["a"], {"a": 2, "b": 2, "c": 2}))
    assert part(found, "weights out of a").work == pytest.approx(12_800 / 64 / 50 * 2 * 1e6)


def test_a_node_with_many_actors_talks_once_and_those_of_few_each_by_themselves() -> None:
    actors = 10 + 30 + FEW_ACTORS
    at = Places("a", ["a"], {"a": 10, "b": 30, "c": FEW_ACTORS})
    free = (f"actors.count={actors}", "replay.samples_per_insert=null", "replay.capacity_transitions=2_000_000")
    found, alone = of(*free, at=at), 10 + FEW_ACTORS
    asks = 100 / 50  # 100 rounds a second, and a question every 50
    weights = part(found, "the weights holder")
    assert weights.work == pytest.approx(alone * asks + 1 / ASK_EVERY_S) and weights.most is None
    assert part(found, "metrics").work == pytest.approx(alone + 1 / GATHER_S)
    assert part(found, "the busiest relay").work == 30
    given = ("weights_core_s=0.001", "report_core_s=0.002", "relayed_report_core_s=0.0001", "relay_core_s=0.01")
    known = of(*free, at=at, given=given)
    assert part(known, "the weights holder").most == pytest.approx(1000)
    assert part(known, "metrics").share == pytest.approx(alone * 0.002 + 30 * 0.0001)
    assert part(known, "the busiest relay").share == pytest.approx(0.3)


def test_memory_and_its_price() -> None:
    config = load("pong", ["actors.count=4"]).config
    sizes = resolve_sizes(config, PONG, 64)
    given = ("actor_bytes=100", "dollars_per_gib_hour=0.5")
    found = of("actors.count=4", given=given)
    assert found.memory_bytes == sizes.replay_bytes + 1000 + 400
    told = in_words(replace(found, memory_bytes=3 * 2**30), config, measured(given))
    assert told.endswith("memory: 3.0 GiB for replay, actors and what is on its way, 1.50 dollars an hour")
    assert "dollars" not in in_words(found, config, measured())


def test_a_learner_that_nobody_has_measured_is_told_as_such() -> None:
    config = load("cartpole", ["actors.count=2"]).config
    spec = EnvSpec.of_frames("CartPole-v1", (4,), "float32", 1, 2, 1)
    sizes = resolve_sizes(config, spec, 8)
    found = estimate(config, spec, sizes, Places("a", ["a"], {"a": 2}), False, 0.0, measured())
    assert found.samples_per_s is None and found.steps_per_s == found.wanted_steps_per_s
    assert "no such learner was measured, so it may be that: --given samples_per_s=N" in in_words(
        found, config, measured()
    )
    for gpu, known in ((False, 4_680), (True, None)):
        config = load("pong", ["actors.count=2"]).config
        sizes = resolve_sizes(config, PONG, 8)
        figures = measured(["pong_samples_per_s=4680"])
        of_pong = estimate(config, PONG, sizes, Places("a", ["a"], {"a": 2}), gpu, 0.0, figures)
        assert of_pong.samples_per_s == known


def test_two_groups_and_central_inference_have_rates_of_their_own() -> None:
    figures = ("actor_two_groups_steps_per_s=5000", "emulator_steps_per_s=4000")
    assert of("actors.count=2", "actors.groups=2", given=figures).wanted_steps_per_s == 10_000
    central = of("actors.count=2", "actors.inference=central", "actors.threads=2", given=figures)
    assert central.wanted_steps_per_s == 16_000
    assert part(central, "the weights holder").work == pytest.approx(1 / ASK_EVERY_S), "one asks, for all of them"


def test_what_infers_for_actors_may_be_the_wall_and_counts_as_memory() -> None:
    free = ("actors.count=10", "replay.samples_per_insert=null", "actors.inference_device=cpu")
    figures = ("emulator_steps_per_s=4000", "inference_steps_per_s=8000", "actor_bytes=100", "central_actor_bytes=10")
    at = Places("a", ["a"], {"a": 2, "b": 5, "c": 3, "d": 0})
    local, central, node = (
        of(*free, f"actors.inference={where}", at=at, given=figures) for where in ("local", "central", "node")
    )
    assert central.steps_per_s == pytest.approx(8_000) and part(central, "inference").share == pytest.approx(1.0)
    busiest = part(node, "the busiest of 3 inference processes")
    assert node.steps_per_s == pytest.approx(8_000 * 10 / 5) and busiest.share == pytest.approx(1.0)
    assert part(node, "the weights holder").work == pytest.approx(3 / ASK_EVERY_S)
    stored = local.memory_bytes - 10 * 100
    assert (central.memory_bytes - stored, node.memory_bytes - stored) == (10 * 10 + 100, 10 * 10 + 3 * 100)


def test_inference_on_gpus_is_not_known_and_that_of_nodes_without_one_is() -> None:
    given = ("inference_steps_per_s=8000",)
    at = Places("a", ["a"], {"a": 6, "b": 3}, gpus=["a"])
    words = ("actors.count=9", "replay.samples_per_insert=null", "actors.inference=node")
    both = of(*words, at=at, given=given)
    assert part(both, "the busiest").most == 8_000
    assert part(both, "the busiest").work == pytest.approx(both.steps_per_s * 3 / 9), "of those on CPUs"
    everywhere = of(*words, at=replace(at, gpus=["a", "b"]), given=given)
    assert part(everywhere, "the busiest").most is None
    assert part(of(*words, "actors.inference_device=cpu", at=at, given=given), "the busiest").share == pytest.approx(
        1.0
    )


def test_places_are_those_of_a_plan_and_what_finds_none_is_on_more_such_nodes() -> None:
    needs = [Bundle("learner+replay-0", cpus=2), Bundle("replay", count=2), Bundle("actor", cpus=1, count=20)]
    nodes = [Node(name, name, *2 * [{"CPU": 6.0, "memory": 1e9}]) for name in ("a", "b")]
    config = load("pong", ["actors.count=20", "replay.shards=3"]).config
    found = places(fit(needs, nodes), resolve_sizes(config, PONG, 64))
    assert found.learner == "a" and list(found.shards) == ["a", "a", "a"]
    assert found.actors == {"a": 4, "b": 6, "one more node 0": 6, "one more node 1": 4}


def test_two_nodes_of_one_address_are_two() -> None:
    needs = [Bundle("learner+replay-0", cpus=2), Bundle("actor", cpus=1, count=4)]
    nodes = [Node(id, "10.0.0.1", *2 * [{"CPU": 3.0, "memory": 1e9}]) for id in ("a", "b")]
    config = load("pong", ["actors.count=4"]).config
    found = places(fit(needs, nodes), resolve_sizes(config, PONG, 64))
    assert found.actors == {"10.0.0.1 a": 1, "10.0.0.1 b": 3} and found.learner == "10.0.0.1 a"


def test_a_figure_that_there_is_not_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown key 'sample_per_s'\. Did you mean 'samples_per_s'"):
        measured(["sample_per_s=3"])
    with pytest.raises(UserError, match="link_gbit_per_s"):
        measured(["link_gbit_per_s=-1"])
