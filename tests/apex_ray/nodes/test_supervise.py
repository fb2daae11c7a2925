"""Which failures end a run, and how many lost processes are replaced, with a real Ray."""

import time

import pytest
import ray
from ray.exceptions import RayActorError

from apex_ray.nodes.supervise import Supervisor, Watched
from trainkit.errors import UserError

pytestmark = pytest.mark.timeout(300)


@ray.remote(num_cpus=0)
class Node:
    def run(self):
        time.sleep(3600)

    def fail(self):
        raise KeyError("lever")

    def end(self):
        return None

    def ask(self, other):
        return ray.get(other.run.remote())


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def until_it_ends(supervisor):
    while True:
        supervisor.check(timeout_s=1.0)


@pytest.mark.parametrize(("method", "expected"), [("fail", "KeyError: .lever."), ("end", "its loop ended by itself")])
def test_an_error_in_code_ends_the_run_without_a_restart(tmp_path, method, expected):
    supervisor = Supervisor(tmp_path, max_restarts=3, say=pytest.fail)
    node = Node.remote()
    supervisor.watch(getattr(node, method).remote(), Watched("actor 0", restart=lambda: pytest.fail("restarted")))
    with pytest.raises(UserError, match=f"actor 0 failed: .*{expected}"):
        until_it_ends(supervisor)
    assert supervisor.restarts == 0


def test_lost_processes_are_replaced_until_the_budget_is_used_up(tmp_path):
    events, nodes = [], [Node.remote()]

    def restart():
        nodes.append(Node.remote())
        return nodes[-1].run.remote()

    supervisor = Supervisor(tmp_path, max_restarts=1, say=events.append)
    supervisor.watch(nodes[0].run.remote(), Watched("actor 0", restart))
    ray.kill(nodes[0])
    while not events:
        supervisor.check(timeout_s=1.0)
    assert events == ["actor 0 lost its process, restart 1 of 1"]
    ray.kill(nodes[1])
    with pytest.raises(UserError, match=r"actor 0 lost its process .*max_restarts = 1 are used up.*--resume"):
        until_it_ends(supervisor)
    assert len(nodes) == 2


def test_a_lost_node_that_others_need_ends_the_run_and_is_named(tmp_path):
    supervisor = Supervisor(tmp_path, max_restarts=3, say=pytest.fail)
    shard = Node.remote()
    supervisor.watch(Node.remote().ask.remote(shard), Watched("learner", restart=lambda: pytest.fail("restarted")))
    ray.kill(shard)
    with pytest.raises(UserError, match=r"a node that learner talks to lost its process .*--resume"):
        until_it_ends(supervisor)


def test_a_lost_node_that_the_supervisor_knows_has_its_name_whoever_talked_to_it(tmp_path):
    supervisor = Supervisor(tmp_path, max_restarts=3, say=pytest.fail)
    holder = supervisor.know("the weights node", Node.remote())
    supervisor.watch(Node.remote().ask.remote(holder), Watched("the learner", restart=None))
    ray.kill(holder)
    with pytest.raises(UserError, match=r"^the weights node lost its process .*--resume"):
        until_it_ends(supervisor)


def test_restarts_beyond_the_budget_end_the_run(tmp_path):
    supervisor = Supervisor(tmp_path, max_restarts=1, say=lambda _: None)
    supervisor.spend_restart("evaluator", RayActorError())
    with pytest.raises(UserError, match="evaluator lost its process"):
        supervisor.spend_restart("evaluator", RayActorError())
    assert supervisor.restarts == 2
