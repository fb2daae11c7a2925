"""A run whose actors talk through relays, on a real cluster: a relay's process is lost, then its whole node."""

import contextlib

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from apex_ray.nodes import relays
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


def relay_processes():
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if any("RelayNode" in part for part in process.cmdline()[:1]):
                found.append(process)
    return found


@pytest.mark.timeout(400)
def test_a_run_goes_on_without_a_relay_and_without_its_node(tmp_path, nodes, capfd, monkeypatch):
    monkeypatch.setattr(relays, "FEW_ACTORS", 1)
    second = nodes.add_node(num_cpus=2)
    config = cartpole(
        env=SLOW,
        actors={"count": 3},
        cluster={"max_restarts": 1, "address": nodes.address},
        report={"every_s": 0.5},
        evaluation={"final": False},
        stop={"after_updates": None, "after_s": 300.0},
    )
    told, rows, stages = [], [], ["whole", "relay lost", "node lost", "whole again"]

    def next_stage(row):
        rows.append(row)
        told.append(capfd.readouterr().out)
        said, whole = "".join(told), row["actors_alive"] == 3 and row["updates"] > 0 and len(relay_processes()) == 1
        if stages[0] == "whole" and whole:
            relay_processes()[0].kill()
            stages.pop(0)
        elif stages[0] == "relay lost" and "lost its process, restart 1 of 1" in said and whole:
            nodes.remove_node(second, allow_graceful=False)
            stages.pop(0)
        elif stages[0] == "node lost" and row["actors_alive"] == 1 and not relay_processes():
            nodes.add_node(num_cpus=2)
            stages.pop(0)
        elif stages == ["whole again"] and whole:
            stages.append("ended")
        return stages[-1] == "ended"

    outcome = train(config, new_run(tmp_path, config), on_row=next_stage)
    said = "".join(told)
    assert outcome.reason == "on_row asked to", said
    assert "relay 0 on" in said and said.count("was lost with its node") == 2
    assert rows[-1]["restarts"] == 1, "what went with its node is not counted"
    frames = [row["frames"] for row in rows]
    assert frames == sorted(frames)
