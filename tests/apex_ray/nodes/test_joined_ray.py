"""Runs in a process that is connected to a Ray already: they join it and leave it as it was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st
from ray import tune

from apex_ray.nodes.connection import crowded
from apex_ray.run.loop import Outcome
from apex_ray.run.training import train
from cluster.connect import cluster_address
from cluster.resources import Bundle, Node, fit
from tests.apex_ray.runs import cartpole
from trainkit.errors import UserError


@pytest.fixture(scope="module")
def here() -> Iterator[str]:
    """The address of a Ray that this process is in."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=2**28)
    yield str(ray.get_runtime_context().gcs_address)
    ray.shutdown()


def run(runs_dir: Path, address: str | None) -> Outcome:
    config = cartpole(
        runs_dir=str(runs_dir), cluster={"address": address}, stop={"after_updates": 30}, evaluation={"final": False}
    )
    return train(config)


@pytest.mark.timeout(300)
def test_a_notebook_and_a_tune_trial_join_the_ray_that_is_there(
    here: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def cell() -> Outcome:  # a notebook's cells run in an event loop
        return run(tmp_path / "notebook", here)

    outcome = asyncio.run(cell())
    assert "after_updates" in outcome.reason
    # 3 processes that take a CPU each, of the 2 that this Ray has.
    said = capsys.readouterr().out
    assert f"joined the Ray at {here}, which goes on after the run; its 2 free CPU are shared" in said
    assert ray.is_initialized() and ray.available_resources()["CPU"] == 2, "what the run held is free again"
    assert ray.util.list_named_actors(all_namespaces=True) == []

    def trial(settings: dict[str, Any]) -> dict[str, float]:
        outcome = run(tmp_path / "trial", settings["address"])
        rows = (outcome.run / "metrics.jsonl").read_text().splitlines()
        return {"updates": json.loads(rows[-1])["updates"]}

    quiet = tune.RunConfig(storage_path=str(tmp_path / "tune"), verbose=0)
    # With a placement group of its own, of one CPU, which would capture what the trial starts.
    results = tune.Tuner(trial, param_space={"address": None}, run_config=quiet).fit()
    assert not results.errors and results[0].metrics is not None, results.errors
    assert results[0].metrics["updates"] >= 30


def test_a_process_in_a_ray_is_in_no_other(here: str) -> None:
    port = here.rpartition(":")[2]
    for same in (None, "auto", here, f"127.0.0.1:{port}", f"localhost:{port}"):
        assert cluster_address(same) == here
    for other in ("local", "127.0.0.1:1", f"ray://{here}"):
        with pytest.raises(UserError, match=f"connected to the Ray at {here} already .*expected null, auto or {here}"):
            cluster_address(other)


@given(st.integers(1, 8), st.integers(0, 4), st.integers(1, 20), st.floats(0, 16))
def test_one_machine_is_shared_by_more_processes_than_it_has_cpus(
    learner: int, fewest: int, actors: int, free: float
) -> None:
    needs = [Bundle("learner", cpus=learner), Bundle("actor", cpus=1, count=actors, at_least=min(fewest, actors))]
    nodes = [Node("here", "here", {"CPU": free, "memory": 1e9}, {"CPU": 16.0, "memory": 1e9})]
    shared, said = crowded(needs, nodes)
    if fit(needs, nodes).enough or free < 1:
        assert shared == needs and not said
    else:
        assert fit(shared, nodes).enough and f"{free:g} free CPU" in said
    if free >= 0.1:
        half, _ = crowded(needs, nodes, own=True)
        assert fit(half, nodes).enough, "a Ray of this program's own has room for one run more, however full"
    assert crowded(needs, nodes * 2) == (needs, ""), "several machines are a cluster, where a run has room or has not"
