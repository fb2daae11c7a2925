"""What a run asks of a cluster, by hand."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_ray import demand
from apex_ray.config.load import load
from apex_ray.demand import bundles, plan
from apex_ray.nodes.connection import own_ray
from apex_ray.sizes import resolve_sizes
from apex_ray.types import EnvSpec
from cluster.cli import main as cluster_main
from cluster.plan import _report
from cluster.resources import Bundle, Node, fit
from trainkit.errors import UserError

PONG = EnvSpec.of_frames("ALE/Pong-v5", (84, 84), "uint8", 4, 6, 4)


def needs(*settings: str, gpus: float = 0.0) -> dict[str, Bundle]:
    config = load("atari_paper", list(settings)).config
    return {b.name: b for b in bundles(config, resolve_sizes(config, PONG, 64), gpus)}


def test_a_plan_asks_for_the_cores_of_learner_and_actors() -> None:
    found = needs("actors.count=4-16", "learner.threads=6", gpus=1)
    learner, actor = found["learner+replay-0"], found["actor"]
    assert list(found) == ["learner+replay-0", "actor"], "the learner first, what scales last"
    assert (learner.cpus, learner.gpus, learner.minimum) == (6, 1, 1)
    assert (actor.cpus, actor.gpus, actor.count, actor.minimum, actor.memory_bytes) == (1, 0, 16, 4, 0)
    # 2 million transitions of 7,056 bytes and a little more each
    assert 2e6 * 7_056 < learner.memory_bytes < 2e6 * 7_056 * 1.2


def test_a_plan_makes_one_environment_for_all_counts_that_it_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[str]()
    monkeypatch.setattr(demand, "_SPECS", {})
    monkeypatch.setattr(demand, "probe", lambda env: made.append(env.id) or PONG)
    machine = Node("a", "a", *2 * [{"CPU": 100.0, "memory": 1e12, "object_store_memory": 1e12}])
    enough, told = _report(plan, ["pong", "actors.count=4"], [], None, 0.0, [machine], "here")
    assert enough and "the largest that fits is actors.count=" in told and len(made) == 1
    plan.needs(["cartpole"], None, 0.0)
    assert len(made) == 2


def test_bytes_in_flight_grow_with_the_actors() -> None:
    few, many = needs("actors.count=8"), needs("actors.count=16")
    assert few["actor"].object_store_bytes == many["actor"].object_store_bytes > 0
    grown = many["learner+replay-0"].object_store_bytes - few["learner+replay-0"].object_store_bytes
    assert grown == 8 * few["actor"].object_store_bytes, "every chunk in flight may lie at its shard too"


def test_each_worker_of_the_learner_has_a_gpu_cores_and_its_part_of_the_batches() -> None:
    one, four = needs("actors.count=8", gpus=4), needs("actors.count=8", "learner.workers=4", gpus=4)
    worker = four["learner worker"]
    assert list(four) == ["learner+replay-0", "learner worker", "actor"] and "learner worker" not in one
    assert (worker.count, worker.gpus, worker.cpus, worker.memory_bytes) == (3, 1, four["learner+replay-0"].cpus, 0)
    batches = one["learner+replay-0"].object_store_bytes - 8 * one["actor"].object_store_bytes
    assert worker.object_store_bytes == batches // 4
    central = ("actors.count=8", "learner.workers=2", "actors.inference=central")
    assert needs(*central, gpus=2)["inference"].gpus == 0, "it shares the first worker's"
    assert needs(*central, gpus=3)["inference"].gpus == 1


def test_shards_share_the_bytes() -> None:
    one, four = needs("actors.count=8"), needs("actors.count=8", "replay.shards=4")
    assert four["replay"].count == 3 and four["replay"].cpus == 0
    whole = one["learner+replay-0"].memory_bytes
    assert four["replay"].memory_bytes == four["learner+replay-0"].memory_bytes == pytest.approx(whole / 4, rel=0.01)


@given(
    actors=st.integers(1, 12),
    shards=st.integers(1, 5),
    threads=st.integers(1, 4),
    groups=st.sampled_from([1, 2]),
    inference=st.sampled_from(["local", "central"]),
    learner=st.integers(1, 6),
)
def test_a_ray_of_its_own_holds_the_run_and_one_cpu_more(
    actors: int, shards: int, threads: int, groups: int, inference: str, learner: int
) -> None:
    words = [f"actors.count={actors}", f"replay.shards={shards}", f"learner.threads={learner}"]
    words += [f"actors.threads={threads}", f"actors.groups={groups}", f"actors.inference={inference}"]
    config = load("cartpole", words).config
    spec = EnvSpec.of_frames("CartPole-v1", (4,), "float32", 1, 2, 1)
    embedded, needs = own_ray(config, resolve_sizes(config, spec, 1), cores=1)
    # By hand: a group of environments that infers by itself runs beside the other. One more is for runs that join.
    of_actor = threads * (2 if groups == 2 and inference == "local" else 1)
    assert embedded.num_cpus == learner + actors * of_actor + (threads if inference == "central" else 0) + 1
    amounts = {"CPU": float(embedded.num_cpus), "memory": 1e9}
    assert fit(needs, [Node("here", "here", amounts, amounts)]).whole
    assert all(b.scheduled for b in needs), "Ray refuses an empty bundle"


@pytest.mark.parametrize(("gpus", "device", "learner", "inference"), [
    (0.0, "auto", 0, 0), (1.0, "auto", 1, 0), (2.0, "auto", 1, 1), (2.0, "cpu", 0, 0),
])  # fmt: skip
def test_central_inference_has_its_own_gpu_where_there_are_two(
    gpus: float, device: str, learner: float, inference: float
) -> None:
    found = needs("actors.count=8", "actors.inference=central", f"learner.device={device}", gpus=gpus)
    assert (found["learner+replay-0"].gpus, found["inference"].gpus) == (learner, inference)


def test_inference_of_each_node_takes_nothing_that_ray_hands_out() -> None:
    with_it, without = (needs("actors.count=8", f"actors.inference={where}", gpus=1) for where in ("node", "local"))
    assert with_it == without


def test_bundles_go_only_to_nodes_with_their_labels() -> None:
    found = needs("actors.count=8", "cluster.actor_labels={pool: spot}", "cluster.learner_labels={pool: '!spot'}")
    assert found["actor"].labels == {"pool": "spot"} and found["learner+replay-0"].labels == {"pool": "!spot"}


def test_the_plan_of_a_command_line() -> None:
    assert plan.needs(["pong", "actors.count=64"], 8, 0.0)[-1].count == 64
    with pytest.raises(UserError, match="no preset"):
        plan.needs(["actors.count=64"], 8, 0.0)


@pytest.mark.parametrize(
    ("gib", "words", "verdict"),
    [
        (
            64,
            ["pong", "actors.count=64"],
            r"does not fit: needs 64 x actor .*; the largest .* is actors.count=15",
        ),
        # Chunks of 64 actors need more shared memory at the learner than there is: fewer actors need less.
        (
            8,
            ["pong", "actors.count=64"],
            r"does not fit: needs learner\+replay-0 .*; the largest .* is actors.count=15",
        ),
        (64, ["pong", "actors.count=4"], r"fits; the largest that fits is actors.count=15"),
        (64, ["pong", "actors.count=2-64"], r"fits in part: .*; the largest that fits is actors.count=15"),
        (1, ["pong", "actors.count=64"], r"does not fit: needs learner.*; no actors.count fits"),
        # A range is refused for its lower end alone, and asks for what the learner's node holds.
        (8, ["pong", "actors.count=2-64"], r"fits in part: 15 of 44 .*; it grows to 44 of 64 .* is actors.count=15"),
        (
            1,
            ["pong", "actors.count=1-64"],
            r"does not fit: needs learner\+replay-0 .*; the nearest .* lacks memory \(2.9 GiB asked, 1.0 GiB left\)"
            r"; no actors.count fits",
        ),
        (64, ["pong", "replay.capacity_transitions=60000", "actors.count=9"], r"fits; .* is actors.count=9"),
    ],
)
def test_a_plan_ends_with_the_largest_count_that_fits(gib: float, words: list[str], verdict: str) -> None:
    amounts = {"CPU": 16.0, "memory": gib * 2**30, "object_store_memory": gib * 2**30}
    fits, text = _report(plan, words, [], 16, 0.0, [Node("a", "a", amounts, amounts)], "a cluster")
    _, _, told, _ = text.split("\n\n")
    assert re.fullmatch(verdict, told), told
    assert fits == told.startswith("fits")


def test_the_plan_command_takes_figures_for_what_it_expects(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demand, "_SPECS", {})
    monkeypatch.setattr(demand, "probe", lambda env: PONG)
    words = ["plan", "pong", "actors.count=1", "replay.samples_per_insert=null", "--address", "local"]
    figures = ("actor_steps_per_s=1234", "dollars_per_gib_hour=0.5")
    cluster_main([*words, *(word for figure in figures for word in ("--given", figure))])
    told = capsys.readouterr().out
    assert "expected: 1,234 env steps/s; the wall is " in told and " dollars an hour" in told
    assert cluster_main([*words, "--given", "actor_step_per_s=1"]) == 2
    assert "Did you mean 'actor_steps_per_s'?" in capsys.readouterr().err
