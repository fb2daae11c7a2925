"""Where what infers for actors is started, and with how much of which GPU."""

from types import SimpleNamespace

import pytest

from apex_ray.demand import bundles
from apex_ray.nodes import launch
from apex_ray.nodes.launch import Launcher
from apex_ray.nodes.learner_node import LearnerNode
from apex_ray.site import Site
from apex_ray.sizes import resolve_sizes
from apex_ray.types import EnvSpec
from cluster.resources import Node
from tests.apex_ray.runs import cartpole

SPEC = EnvSpec.of_frames("CartPole-v1", (4,), "float32", 1, 2, 1)
PLACED = SimpleNamespace(of=lambda name, nth=0: name, node=lambda name: "head")


@pytest.fixture
def started(monkeypatch):
    """Asks a launcher of a run on a cluster with these free GPUs, by node: {kind of process: (GPUs, CPUs, place)}."""

    def ask(inference, free, *nodes, device="auto", learner="auto", group=None):
        found = {}

        def start(self, kind, name, *given, **options):
            place = options.get("scheduling_strategy", "learner+replay-0")
            found[kind if kind is LearnerNode else name] = options["num_gpus"], options.get("num_cpus", 0), place

        monkeypatch.setattr(launch, "Placement", lambda *given: PLACED)
        monkeypatch.setattr(launch, "NodeAffinitySchedulingStrategy", lambda node, soft: node)
        monkeypatch.setattr(launch, "snapshot", lambda: [Node(n, n, {"GPU": g}, {}) for n, g in free.items()])
        monkeypatch.setattr(Launcher, "_start", start)
        actors = {"inference": inference, "inference_device": device, "count": 2}
        config = cartpole(actors=actors, learner={"device": learner})
        sizes, gpus = resolve_sizes(config, SPEC, 4), sum(free.values()) + (learner != "cpu")
        by_name = {bundle.name: bundle for bundle in bundles(config, sizes, gpus)}
        launcher = Launcher(config, SPEC, Site(sizes, False, bundles=by_name, group=group), None)
        launcher.learner()
        if inference == "central":
            launcher.inference()
        for number, node in enumerate(nodes):
            launcher.inference_of(number, f"inference {number} on {node}", node)
        return found

    return ask


HALF, WHOLE = 0.5, 1.0


def test_inference_of_a_node_has_its_free_gpu_and_at_home_half_of_the_learner_s(started):
    found = started("node", {"head": 0.0, "a": 1.0, "b": 0.0, "c": 0.5}, "head", "a", "b", "c")
    assert found == {
        LearnerNode: (HALF, 1, "learner+replay-0"),
        "inference-0": (HALF, 0, "learner+replay-0"),
        "inference-1": (WHOLE, 0, "a"),
        "inference-2": (0.0, 0, "b"),
        "inference-3": (0.0, 0, "c"),
    }


def test_inference_of_the_learner_s_node_has_another_gpu_where_one_is_free(started):
    assert started("node", {"head": 1.0}, "head")["inference-0"] == (WHOLE, 0, "head")


@pytest.mark.parametrize("asked", [{"device": "cpu"}, {"group": "a trial's"}])
def test_inference_of_a_node_leaves_gpus_alone_where_they_are_not_its_own(started, asked):
    found = started("node", {"a": 4.0}, "a", **asked)
    assert found["inference-0"] == (0.0, 0, "a")


def test_where_the_learner_has_no_gpu_inference_of_its_node_has_one_of_its_own(started):
    found = started("node", {"head": 1.0}, "head", learner="cpu")
    assert found == {LearnerNode: (0.0, 1, "learner+replay-0"), "inference-0": (WHOLE, 0, "head")}


@pytest.mark.parametrize(
    ("more", "learner", "inference"),
    [
        (0.0, (HALF, 1, "learner+replay-0"), (HALF, 0, "learner+replay-0")),
        (1.0, (WHOLE, 1, "learner+replay-0"), (WHOLE, 1, "inference")),
    ],
)
def test_central_inference_shares_the_learner_s_gpu_where_there_is_no_other(started, more, learner, inference):
    assert started("central", {"a": more}) == {LearnerNode: learner, "inference": inference}
