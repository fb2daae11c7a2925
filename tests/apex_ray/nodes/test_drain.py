"""Nodes that are drained, as a spot machine is that gets its notice: by Ray's own request, on a real cluster."""

import time

import numpy as np
import pytest
import ray
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import DrainNodeReason

from apex_ray.agent.build import build_agent
from apex_ray.agent.network import new_network, to_arrays
from apex_ray.envs.make import probe
from apex_ray.nodes import replay_node
from apex_ray.nodes.actor_node import ActorNode
from apex_ray.nodes.living import GROUP
from apex_ray.nodes.metrics_node import MetricsNode
from apex_ray.nodes.replay_node import ReplayNode
from apex_ray.nodes.weights_node import WeightsNode
from apex_ray.run.training import train
from apex_ray.sizes import resolve_sizes
from apex_ray.types import Counters
from tests.apex_ray.runs import cartpole, new_run
from tests.fakes import decode

pytestmark = pytest.mark.timeout(300)
SLOW = {"id": "apex-tests/SlowCartPole-v0", "import_modules": ["tests.fakes"]}


@pytest.fixture
def nodes():
    """A cluster of this machine: a head that has room for all but one actor."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def drain(cluster, node, left_s=120):
    deadline_ms = int((time.time() + left_s) * 1000)
    reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    accepted, why = GcsClient(address=cluster.address).drain_node(node.node_id, reason, "spot", deadline_ms)
    assert accepted, why


def test_actors_leave_a_node_that_is_drained_and_come_back_elsewhere(tmp_path, nodes, capfd):
    second = nodes.add_node(num_cpus=1)
    config = cartpole(
        env=SLOW,
        actors={"count": 2},
        cluster={"max_restarts": 0, "address": nodes.address},
        report={"every_s": 0.5},
        evaluation={"final": False},
        stop={"after_updates": None, "after_s": 200.0},
    )
    told, rows, stages = [], [], ["second", "third", "head"]

    def next_stage(row):
        rows.append(row)
        told.append(capfd.readouterr().out)
        said = "".join(told)
        if stages[0] == "second" and row["actors_alive"] == 2 and row["updates"]:
            drain(nodes, second)
            stages.pop(0)
        elif stages[0] == "third" and row["actors_alive"] == 1:
            nodes.add_node(num_cpus=1)
            stages.pop(0)
        elif stages == ["head"] and row["actors_alive"] == 2:
            drain(nodes, nodes.head_node)
            stages.append("saved")
        return stages[-1] == "saved" and "for other parts are on it" in said and "checkpoint: " in said

    outcome = train(config, new_run(tmp_path, config), on_row=next_stage)
    assert outcome.reason == "on_row asked to"
    said = "".join(told)
    assert "is to be taken away in 1" in said and "actor 1: to leave when all that was sent is stored" in said
    assert said.index("for other parts are on it") < said.index("checkpoint: checkpoints/update-")
    assert {row["restarts"] for row in rows} == {0}
    frames = [row["frames"] for row in rows]
    assert frames == sorted(frames)


class Noting(ReplayNode):
    """Notes every chunk."""

    def __init__(self, *given):
        super().__init__(*given)
        self.chunks = []

    def add(self, chunk):
        self.chunks.append((chunk.sequence, {n: array.copy() for n, array in chunk.fields.items()}, chunk.valid.copy()))
        return super().add(chunk)

    def noted(self):
        return self.chunks


def test_an_actor_that_leaves_has_stored_every_chunk_once(tmp_path, nodes):
    config = cartpole(
        env={"id": "apex-tests/Counting-v0", "import_modules": ["tests.fakes"]},
        actors={"count": 1, "envs_per_actor": 3, "chunk_transitions": 10},
        replay={"capacity_transitions": 400_000, "min_transitions": 200_000, "samples_per_insert": None},
    )
    spec = probe(config.env)
    sizes, agent = resolve_sizes(config, spec), build_agent(config, spec)
    shards = ray.remote(num_cpus=0, concurrency_groups=replay_node.concurrency_groups(1))(Noting)
    shard = shards.remote(config, agent.fields, sizes, 0)
    weights = ray.remote(num_cpus=0, concurrency_groups=GROUP)(WeightsNode).remote()
    ray.get(weights.publish.remote(0, to_arrays(new_network(agent, config.seed))))
    metrics = ray.remote(num_cpus=0, concurrency_groups=GROUP)(MetricsNode).remote(np.ones(3), 1)
    actor = ray.remote(num_cpus=0)(ActorNode).remote(config, spec, sizes, 0, 0)
    ray.get(actor.begin.remote([shard], weights, metrics))
    call = actor.run.remote()
    while ray.get(metrics.row.remote(Counters()))[0]["frames"] == 0:
        time.sleep(0.1)
    ray.get(metrics.dismiss.remote(["actor 0"]))
    ray.get(call)  # it has left by itself
    noted = ray.get(shard.noted.remote())
    assert [sequence for sequence, *_ in noted] == list(range(len(noted))), "a chunk was lost, doubled or reordered"
    frames = int(ray.get(metrics.row.remote(Counters()))[0]["frames"])
    stored = sum(valid.size for _, _, valid in noted)
    assert 0 <= frames - stored <= 3 * (10 + config.td.n_step), "all but the steps of a chunk that was not full"
    for env in range(3):
        counters = [decode(frame).counter for _, fields, valid in noted for frame in fields["frames"][env]]
        assert set(range(1, max(counters) + 1)) <= {*counters, 0}
