"""Which failures end a run, and how many lost processes are replaced, with a real Ray."""

import os
import signal
import time

import pytest
import ray
from ray.exceptions import RayActorError

from apex_ray.nodes.living import GROUP, RESTARTED_IN_PLACE, Living, note_work
from apex_ray.nodes.supervise import Supervisor, Watched
from tests.rays import ray_of
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
    with ray_of(1):
        yield


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


def test_a_process_that_is_ended_on_purpose_is_not_lost(tmp_path):
    supervisor, ended, lost = Supervisor(tmp_path, 0, pytest.fail), Node.remote(), Node.remote()
    for name, node in (("actor 0", ended), ("actor 1", lost)):
        supervisor.watch(node.run.remote(), Watched(name, restart=lambda: pytest.fail("restarted")))
    supervisor.drop("actor 0")
    ray.kill(ended)
    for _ in range(5):
        supervisor.check(timeout_s=0.5)
    ray.kill(lost)
    with pytest.raises(UserError, match="actor 1 lost its process"):
        until_it_ends(supervisor)


def test_a_call_that_ends_well_is_followed_by_the_next_and_that_is_watched(tmp_path):
    supervisor, node, given = Supervisor(tmp_path, max_restarts=0, say=pytest.fail), Node.remote(), []

    def follow(result):
        given.append(result)
        return node.run.remote()

    supervisor.watch(node.end.remote(), Watched("actor 0", None, follow=follow))
    while not given:
        supervisor.check(timeout_s=1.0)
    ray.kill(node)
    with pytest.raises(UserError, match=r"actor 0 lost its process .*--resume"):
        until_it_ends(supervisor)
    assert given == [None]


def test_a_lost_node_that_others_need_ends_the_run_and_is_named(tmp_path):
    supervisor = Supervisor(tmp_path, max_restarts=3, say=pytest.fail)
    shard = Node.remote()
    supervisor.watch(Node.remote().ask.remote(shard), Watched("learner", restart=lambda: pytest.fail("restarted")))
    ray.kill(shard)
    with pytest.raises(UserError, match=r"a node that learner talks to lost its process .*--resume"):
        until_it_ends(supervisor)


@pytest.fixture
def kept():
    kind = ray.remote(num_cpus=0, concurrency_groups=GROUP, **RESTARTED_IN_PLACE)(Keeper)
    node = kind.remote()
    yield node
    ray.kill(node)


class Keeper(Living):
    def pid(self):
        return os.getpid()

    def work(self):
        note_work()


def until(supervisor, events, count):
    deadline = time.monotonic() + 60
    while len(events) < count and time.monotonic() < deadline:
        supervisor.check(timeout_s=0.2)
    assert len(events) == count, events


def test_a_process_that_ray_starts_anew_is_restored_until_its_budget_is_used_up(tmp_path, kept):
    events, restored = [], []
    supervisor = Supervisor(tmp_path, max_restarts=2, say=events.append)
    supervisor.keep("the weights node", kept, lambda: restored.append(ray.get(kept.pid.remote())))
    for time_lost in (1, 2):
        ray.get(kept.work.remote())
        os.kill(ray.get(kept.pid.remote()), signal.SIGKILL)
        until(supervisor, events, time_lost)
        assert events[-1] == f"the weights node lost its process, restart {time_lost} of 2"
        assert restored[-1] == ray.get(kept.pid.remote()) and len(restored) == time_lost
    ray.get(kept.work.remote())
    os.kill(ray.get(kept.pid.remote()), signal.SIGKILL)
    with pytest.raises(UserError, match=r"^the weights node lost its process .*max_restarts = 2 are used up.*--resume"):
        until_it_ends(supervisor)


def test_a_process_that_is_not_to_come_back_is_watched_no_more(tmp_path, kept):
    supervisor, asked = Supervisor(tmp_path, max_restarts=0, say=pytest.fail), []
    supervisor.keep("relay 0", kept, gone=lambda lost_s: asked.append(lost_s) or True)
    os.kill(ray.get(kept.pid.remote()), signal.SIGKILL)
    while not asked:
        supervisor.check(timeout_s=0.2)
    assert supervisor.processes == {} and supervisor.restarts == 0 and asked[0] < 30.0


def test_a_process_that_hangs_is_ended_and_counts_as_lost(tmp_path, kept):
    events = []
    supervisor = Supervisor(tmp_path, max_restarts=1, say=events.append)
    supervisor.keep("metrics", kept)
    os.kill(ray.get(kept.pid.remote()), signal.SIGSTOP)
    assert not supervisor.kill_hung("actor 0", "is none of these")
    assert supervisor.kill_hung("metrics", "metrics hangs")
    until(supervisor, events, 2)
    assert events[0].startswith("metrics hangs; its process is ended; ")
    assert events[1] == "metrics lost its process, restart 1 of 1"


def test_a_process_that_is_still_being_made_has_not_begun(tmp_path):
    """On a busy machine that takes longer than cluster.stall_s."""

    class Slow(Keeper):
        def __init__(self):
            time.sleep(2.0)

    supervisor = Supervisor(tmp_path, max_restarts=1, say=pytest.fail)
    node = ray.remote(num_cpus=0, concurrency_groups=GROUP, **RESTARTED_IN_PLACE)(Slow).remote()
    supervisor.keep("metrics", node)
    assert not supervisor.has_begun("metrics") and supervisor.has_begun("actor 0")
    ray.get([node.pid.remote(), node.process.remote()])
    while not supervisor.has_begun("metrics"):
        supervisor.check(timeout_s=0.1)


@pytest.mark.parametrize(("busy", "ends"), [(True, True), (False, False)])
def test_what_is_lost_twice_in_a_row_before_it_has_worked_ends_the_run(tmp_path, kept, busy, ends):
    events = []
    supervisor = Supervisor(tmp_path, max_restarts=9, say=events.append)
    supervisor.keep("the evaluator", kept, busy=lambda: busy)
    os.kill(ray.get(kept.pid.remote()), signal.SIGKILL)
    until(supervisor, events, 1)
    os.kill(ray.get(kept.pid.remote()), signal.SIGKILL)
    if not ends:
        until(supervisor, events, 2)
        return
    with pytest.raises(UserError, match=r"^the evaluator lost its process twice in a row before it had done any work"):
        until_it_ends(supervisor)
    assert events == ["the evaluator lost its process, restart 1 of 9"]


def test_one_that_can_not_be_made_is_told_with_its_error(tmp_path):
    class Unmade(Keeper):
        def __init__(self):
            raise MemoryError("no room for replay")

    supervisor = Supervisor(tmp_path, max_restarts=3, say=pytest.fail)
    supervisor.keep("replay-0", ray.remote(num_cpus=0, concurrency_groups=GROUP, **RESTARTED_IN_PLACE)(Unmade).remote())
    with pytest.raises(UserError, match=r"^replay-0 can't be made: MemoryError: no room for replay$"):
        until_it_ends(supervisor)


def test_a_process_that_is_gone_for_good_is_named_whoever_talked_to_it(tmp_path):
    node = ray.remote(num_cpus=0, concurrency_groups=GROUP)(Keeper).remote()
    supervisor = Supervisor(tmp_path, max_restarts=3, say=pytest.fail)
    supervisor.keep("the weights node", node)
    ray.kill(node)
    with pytest.raises(UserError, match=r"^the weights node lost its process .*--resume"):
        until_it_ends(supervisor)


def test_each_part_has_a_budget_of_its_own_and_the_actors_one(tmp_path):
    supervisor = Supervisor(tmp_path, max_restarts=1, say=lambda _: None)
    for name in ("actor 0", "metrics", "replay-0"):
        supervisor.spend_restart(name, RayActorError())
    assert supervisor.restarts == 3
    with pytest.raises(UserError, match=r"^actor 5 lost its process"):
        supervisor.spend_restart("actor 5", RayActorError())


def test_work_between_two_bad_starts_makes_them_two_losses(tmp_path):
    supervisor = Supervisor(tmp_path, max_restarts=9, say=lambda _: None)
    for at_start in (True, False, True):
        supervisor.spend_restart("actor 0", RayActorError(), at_start)
    supervisor.spend_restart("actor 1", RayActorError(), at_start=True)
    with pytest.raises(UserError, match=r"^actor 0 lost its process twice in a row"):
        supervisor.spend_restart("actor 0", RayActorError(), at_start=True)


def test_restarts_beyond_the_budget_end_the_run(tmp_path):
    supervisor = Supervisor(tmp_path, max_restarts=1, say=lambda _: None)
    supervisor.spend_restart("evaluator", RayActorError())
    with pytest.raises(UserError, match="evaluator lost its process"):
        supervisor.spend_restart("evaluator", RayActorError())
    assert supervisor.restarts == 2
