"""A run whose nodes have relays and inference, on a real cluster: a process of each is lost, then a whole node."""

import contextlib
import re

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from apex_ray.nodes import crew
from apex_ray.run.training import train
from tests.apex_ray.runs import cartpole, new_run

SLOW = {"id": "apex-tests/SlowCartPole-v0", "import_modules": ["tests.fakes"]}


@pytest.fixture
def nodes():
    """A cluster of this machine: a head that has room for all but two actors."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def processes(kind):
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(kind in part for part in process.cmdline()[:1]):
                found.append(process)
    return found


@pytest.mark.timeout(400)
def test_a_run_goes_on_without_a_node_s_helpers_and_without_the_node(tmp_path, nodes, capfd, monkeypatch):
    monkeypatch.setattr(crew, "FEW_ACTORS", 1)
    second = nodes.add_node(num_cpus=2)
    config = cartpole(
        env=SLOW,
        actors={"count": 3, "inference": "node"},
        cluster={"max_restarts": 2, "address": nodes.address},
        report={"every_s": 0.5},
        evaluation={"final": False},
        stop={"after_updates": None, "after_s": 300.0},
    )
    told, rows, lost_at, stages = [], [], [], ["whole", "relay lost", "inference lost", "node lost", "whole again"]

    def next_stage(row):
        rows.append(row)
        told.append(capfd.readouterr().out)
        restarted = row["restarts"]
        relays, inferring = processes("RelayNode"), processes("InferenceNode")
        whole = row["actors_alive"] == 3 and row["updates"] > 0 and (len(relays), len(inferring)) == (1, 2)
        if stages[0] == "whole" and whole:
            relays[0].kill()
            stages.pop(0)
        elif stages[0] == "relay lost" and restarted == 1 and whole:
            for process in inferring:
                process.kill()
            lost_at.append(row["frames"])
            stages.pop(0)
        elif stages[0] == "inference lost" and restarted == 3 and whole and row["frames"] > lost_at[0] + 1_000:
            nodes.remove_node(second, allow_graceful=False)
            stages.pop(0)
        elif stages[0] == "node lost" and row["actors_alive"] == 1 and (len(relays), len(inferring)) == (0, 1):
            nodes.add_node(num_cpus=2)
            stages.pop(0)
        elif stages == ["whole again"] and whole:
            stages.append("ended")
        return stages[-1] == "ended"

    outcome = train(config, new_run(tmp_path, config), on_row=next_stage)
    said = "".join(told)
    assert outcome.reason == "on_row asked to", said
    assert re.search(r"relay \d on \S+ lost its process, restart 1 of 2", said)
    assert len(re.findall(r"inference \d on \S+ lost its process, restart \d of 2", said)) == 2
    assert said.count("was lost with its node") == 2
    assert rows[-1]["restarts"] == 3, "what went with its node is not counted"
    frames = [row["frames"] for row in rows]
    assert frames == sorted(frames)
