"""A relay's process is lost while actors talk through it, on a real Ray."""

import os
import signal
import time

import numpy as np
import pytest
import ray

from apex_ray.experience.variables import VariableClient
from apex_ray.nodes.actor_node import Reporter
from apex_ray.nodes.flow import CallWindow
from apex_ray.nodes.living import GROUP, RESTARTED_IN_PLACE
from apex_ray.nodes.metrics_node import MetricsNode
from apex_ray.nodes.relay_node import RelayNode
from apex_ray.nodes.supervise import Supervisor
from apex_ray.nodes.weights_node import RemoteSource, WeightsNode
from apex_ray.types import Counters, EpisodeEnd
from tests.rays import ray_of

pytestmark = pytest.mark.timeout(300)
ACTORS = 3


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with ray_of(1, namespace="relays"):
        yield


class Acting:
    """What an actor's report is made of."""

    def __init__(self):
        self.steps, self.version = 0, -1
        self._ended = []

    def step(self):
        self.steps += 1
        self._ended.append(EpisodeEnd(1.0, 1, 0.4))

    def ended_episodes(self):
        ended, self._ended = self._ended, []
        return ended


@ray.remote(num_cpus=0)
class Talking:
    """An actor's talk, as it steps."""

    def __init__(self, index, relay):
        self._acting = Acting()
        self._versions = []
        self._variables = VariableClient(RemoteSource(relay), 1, lambda w: self._versions.append(w.version))
        self._reporter = Reporter(index, relay, CallWindow(1), 0)

    def talk(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._variables.step()
            self._acting.step()
            self._reporter.maybe([self._acting])
            time.sleep(0.01)

    def rest(self):
        """Report what is left: (steps, versions in the order that they came)."""
        ray.get(self._reporter.report([self._acting]))
        return self._acting.steps, self._versions


def started(kind, name, *given, **options):
    options = {**RESTARTED_IN_PLACE, **options}
    return ray.remote(num_cpus=0, name=name, **options)(kind).remote(*given)


def test_a_lost_relay_costs_no_report_counts_none_twice_and_sets_no_actor_back(tmp_path):
    weights = started(WeightsNode, "weights", concurrency_groups=GROUP)
    metrics = started(MetricsNode, "metrics", np.ones(ACTORS), 1, concurrency_groups=GROUP)
    named = [lambda name=name: ray.get_actor(name, "relays") for name in ("weights", "metrics")]
    relay = started(RelayNode, "relay", "relay 0", *named)
    said = []
    supervisor = Supervisor(tmp_path, max_restarts=1, say=said.append)
    supervisor.keep("relay 0", relay)
    params, version = {"w": np.zeros(50_000, np.float32)}, 0
    ray.get(weights.publish.remote(version, params))
    actors = [Talking.remote(index, relay) for index in range(ACTORS)]
    talks = [actor.talk.remote(12.0) for actor in actors]
    killed_at = time.monotonic() + 4.0
    while not (found := ray.wait(talks, num_returns=ACTORS, timeout=0.2))[0] or found[1]:
        supervisor.check(timeout_s=0.0)
        version += 1
        ray.get(weights.publish.remote(version, params))
        if killed_at and time.monotonic() > killed_at:
            os.kill(ray.get(relay.process.remote()).pid, signal.SIGKILL)
            killed_at = None
    told = ray.get([actor.rest.remote() for actor in actors])
    row, silent_s = ray.get(metrics.row.remote(Counters()))
    assert said == ["relay 0 lost its process, restart 1 of 1"]
    assert row["frames"] == row["episodes"] == sum(steps for steps, _ in told)
    for _, versions in told:
        assert versions == sorted(set(versions)) and version - versions[-1] <= 10
    assert set(silent_s) == {"relay 0", *(f"actor {i}" for i in range(ACTORS))}
