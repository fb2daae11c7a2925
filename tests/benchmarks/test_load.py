"""The load generator: its simulated actors are as large and as talkative as real ones, and its verdicts are right."""

import json
import math
from types import SimpleNamespace

import pytest

from apex_ray.config.load import load
from apex_ray.experience.variables import VariableClient
from apex_ray.measured import measured
from apex_ray.sizes import resolve_sizes
from benchmarks import simulated
from benchmarks.load import FULL_PACE, SERIES, case_of, wall
from benchmarks.load_case import Case, settings, spec_of
from benchmarks.measured import (
    FIGURES,
    PAGE,
    SOURCES,
    expected,
    figures_text,
    page_text,
    results,
    slope,
    table,
    value,
)
from benchmarks.simulated import Pace, Playing, ready_chunk


@pytest.mark.parametrize("side_pixels", [8, 84])
def test_a_ready_chunk_is_as_large_as_an_actor_s(side_pixels):
    case = Case(actors=1, nodes=1, relays=False, side_pixels=side_pixels)
    config, spec = load("pong", settings(case)).config, spec_of(case)
    chunk = ready_chunk(config, spec)
    sizes = resolve_sizes(config, spec, cores=1)
    arrays = [*chunk.fields.values(), chunk.valid, chunk.priorities]
    assert sum(array.nbytes for array in arrays) == sizes.chunk_bytes
    assert chunk.num_samples == sizes.chunk_transitions


class Source:
    """Counts what is asked."""

    def __init__(self, weights):
        self.asked = weights

    def request(self, newer_than):
        self.asked.append(newer_than)

    def poll(self):
        return None


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(s=0.0)

    def sleep(seconds):
        now.s += seconds

    monkeypatch.setattr(simulated, "time", SimpleNamespace(monotonic=lambda: now.s, sleep=sleep))
    monkeypatch.setattr(simulated, "RemoteSource", Source)
    return now


@pytest.mark.parametrize("tick_steps", [1, 5, 25])
def test_a_simulated_actor_asks_and_sends_as_often_as_a_real_one(clock, tick_steps):
    config, asked = load("pong").config, []
    playing = Playing(
        3, config, ready_chunk(config, spec_of(Case(1, 1, False, side_pixels=8))), asked, pace(tick_steps)
    )
    chunks, seconds = [], 20.0
    while clock.s < seconds:
        if (chunk := playing.start_step()) is not None:
            chunks.append(chunk)
        playing.finish_step()
    rounds = 100 * seconds
    a = config.actors
    assert playing.steps == pytest.approx(rounds * a.envs_per_actor, rel=0.02)
    assert len(chunks) == pytest.approx(rounds / a.chunk_transitions, abs=1)
    assert len(asked) == pytest.approx(real_requests(config, round(rounds)), abs=1)
    assert [chunk.sequence for chunk in chunks] == list(range(1, len(chunks) + 1))
    assert {chunk.actor for chunk in chunks} == {3}
    episodes = playing.ended_episodes()
    assert len(episodes) == int(playing.steps / simulated.EPISODE_STEPS) and playing.ended_episodes() == []


def pace(tick_steps):
    return Pace(steps_per_s=100.0, updates_per_s=70.0, tick_steps=tick_steps)


def real_requests(config, rounds):
    """Of an actor with one group, by the object that it has."""
    asked = []
    client = VariableClient(Source(asked), config.actors.weights_every_steps * config.actors.groups, lambda w: None)
    for _ in range(rounds):
        client.step()
    return len(asked)


def test_what_an_actor_has_waited_for_is_not_made_up_for(clock):
    config = load("pong").config
    playing = Playing(0, config, ready_chunk(config, spec_of(Case(1, 1, False, side_pixels=8))), [], pace(5))
    playing.finish_step()
    clock.s += 10.0
    before = playing.steps
    until = clock.s + 1.0
    while clock.s < until:
        playing.start_step()
        playing.finish_step()
    assert playing.steps - before <= 100 * 32 + 3 * 5 * 32


def figures(**other):
    cores = {"weights": 0.1, "metrics": 0.1, "driver": 0.01, "gcs": 0.02, "shards": [0.2, 0.3], "machine": 1.0}
    cores |= {"relays": [0.1]}
    fine = {"lost": 0, "starved": 0, "of_wanted": 0.99, "actors_wait_fraction": 0.0, "cores": cores}
    return {**fine, **other, "cores": cores | other.get("cores", {})}


@pytest.mark.parametrize(
    ("other", "expected_wall"),
    [
        ({}, ""),
        ({"of_wanted": 0.5, "cores": {"weights": 0.95}}, "weights"),
        ({"starved": 1, "cores": {"shards": [0.2, 0.93], "machine": 2.0}}, "replay-1"),
        ({"lost": 1, "cores": {"machine": 1.9}}, "this machine's cores"),
        ({"of_wanted": 0.5, "actors_wait_fraction": 0.4}, "chunks on their way"),
        ({"of_wanted": 0.5}, "not known"),
        ({"cores": {"weights": 0.95}}, ""),
    ],
)
def test_the_wall_is_the_part_without_a_core_to_spare_where_actors_are_held_up(other, expected_wall):
    assert wall(figures(**other), machine_cores=2) == expected_wall


def test_every_series_is_of_cases_that_can_be_and_each_shares_the_actors_out():
    for series in SERIES.values():
        actors = series["first"]
        while actors <= series["most"]:
            case = case_of(series, actors, 30.0)
            config = load("pong", settings(case)).config
            assert resolve_sizes(config, spec_of(case), cores=1).actors == actors
            assert config.actors.weights_every_steps % case.tick_steps == 0
            assert config.actors.chunk_transitions % case.tick_steps == 0
            actors *= 2
    assert case_of(SERIES["relays"], 512, 30.0).nodes == 8 and case_of(SERIES["relays"], 16, 30.0).nodes == 1
    assert math.isclose(FULL_PACE, 3_024 / 32)


def test_what_a_call_costs_leaves_out_what_is_there_without_any():
    cases = [{"x": x, "y": 0.25 + 0.001 * x} for x in (16, 64, 512)]
    assert slope(cases, lambda c: c["x"], lambda c: c["y"]) == pytest.approx(0.001)
    assert slope(cases[:1], lambda c: c["x"], lambda c: c["y"]) is None and slope([], len, len) is None


def case(actors, **other):
    calls = {"weights": 2.0 * actors, "metrics": 1.0 * actors, "chunks": 1.0 * actors}
    cores = {"weights": 0.01 + 0.002 * actors, "metrics": 0.01 + 0.0005 * actors, "relays": [0.004 * actors]}
    return {
        **Case(actors, 1, True, side_pixels=8).__dict__,
        "calls_per_s": calls,
        "cores": {**cores, "driver": 0.01},
        "agent_steps_per_s": 3024.0 * actors,
        "weights_s": {"p50": 0.01, "p99": 0.02},
        "lost": 0,
        "starved": 0,
        "chunk_bytes": 1000,
        "wall": "",
        **other,
    }


LOAD = {
    "direct": [case(16, relays=False), case(64, relays=False)],
    "relays": [case(16), case(64), {**case(128), "failed": "not done after 900 s"}],
    "bytes": [case(1), case(2)],
}


def test_figures_of_a_measured_load_go_where_the_model_takes_them_from():
    found = {**results(), "load": LOAD}
    got = {name: value(found, name) for name in SOURCES}
    assert got["weights_core_s"] == "0.001" and got["report_core_s"] == "0.0005"
    assert got["relay_core_s"] == "0.004" and got["shard_bytes_per_s"] == "2000"
    text = figures_text(FIGURES.read_text(), found)
    assert "\nweights_core_s: 0.001 " in text and len(text.splitlines()) == len(FIGURES.read_text().splitlines())


def test_the_table_has_the_model_behind_each_figure():
    known = ("weights_core_s=0.001", "report_core_s=0.0005", "relayed_report_core_s=0.0001", "relay_core_s=0.004")
    model = measured(known)
    by_series = table({"load": LOAD}, model).split("\n\n`")
    direct, relayed = ([row for row in text.splitlines() if row.startswith("| 64 |")] for text in by_series[:2])
    assert "| 193,536 (193,536) | 0.138 (0.121) | 0.042 (0.032) |" in direct[0]
    assert "| 0.138 (0.004) | 0.042 (0.006) | 0.256 (0.256) |" in relayed[0]
    assert "not done after 900 s" in by_series[1]
    page = page_text(PAGE.read_text(), {"load": LOAD}, model)
    assert page_text(page, {"load": LOAD}, model) == page and "0.256 (0.256)" in page


def test_what_results_say_stands_in_the_figures_and_on_the_page():
    """Else: python -m benchmarks.measured."""
    found = results()
    assert figures_text(FIGURES.read_text(), found) == FIGURES.read_text()
    assert page_text(PAGE.read_text(), found, measured()) == PAGE.read_text()
    assert {name for name in SOURCES if value({**found, "load": {}}, name) == "null"} == {
        "shard_bytes_per_s", "weights_core_s", "report_core_s", "relayed_report_core_s", "relay_core_s"
    }  # fmt: skip


def test_weights_are_as_large_as_those_of_the_networks():
    from apex_ray.agent.build import build_agent
    from apex_ray.agent.network import new_network, to_arrays

    for preset in ("pong", "atari"):
        params = to_arrays(new_network(build_agent(load(preset).config, simulated.PONG), 1))
        assert getattr(measured(), f"{preset}_weights_bytes") == sum(array.nbytes for array in params.values())


def test_the_model_of_a_case_is_of_its_pace_and_places():
    assert json.loads(json.dumps(expected(case(16), measured()).steps_per_s)) == 16 * 32 * Case.steps_per_s
