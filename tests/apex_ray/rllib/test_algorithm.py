"""RLlib's calls on a real run: what they give, what goes on in another process, and that nothing is left."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import ray
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.utils.test_utils import check_train_results_new_api_stack
from ray.util.state import list_actors, list_placement_groups

from apex_ray.learner.checkpoint import load_checkpoint
from apex_ray.policy import load_policy
from apex_ray.rllib import ApexDQN
from apex_ray.rllib.module import ApexModule
from apex_ray.tuning import saved
from cluster import ray_private
from tests.apex_ray.rllib.facade import config
from trainkit.errors import UserError
from trainkit.run_layout import read_record

pytestmark = pytest.mark.timeout(300)
SHARED = Path("/dev/shm")


def shared_memory():
    """Of runs of this user; other tests on this machine have theirs for Python's semaphores."""
    return {path.name for path in SHARED.glob("apex*")}


def threads():
    return sorted(thread.name for thread in threading.enumerate())


def node_processes():
    """Those of a run's Ray actors, which Ray calls after their class."""
    processes = psutil.Process().children(recursive=True)
    return [name for name in map(name_of, processes) if re.search(r"ray::\w+Node", name)]


def name_of(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def before_again(found, before):
    """What is found once it is as it was before, or after seconds: killed processes and threads take some to go."""
    until = time.monotonic() + 10.0
    while (now := found()) != before and time.monotonic() < until:
        time.sleep(0.1)
    return now


@pytest.fixture(scope="module")
def facade(tmp_path_factory):
    """An algorithm's life on a Ray that goes on: what each call gave, and what there was before and after."""
    folder = tmp_path_factory.mktemp("facade")
    ray.init(address="local", num_cpus=4, include_dashboard=True, log_to_driver=False, object_store_memory=2**28)
    state = f"http://{ray_private.dashboard()}"  # of this Ray: there may be others on this machine
    try:
        seen = SimpleNamespace(folder=folder, before=(shared_memory(), threads()))
        pace = {"store_buffer_in_checkpoints": True, "evaluation_interval": 2}
        seen.algorithm = algorithm = config(folder, pace).build_algo()
        seen.before_start = algorithm.run_folder
        seen.results = [algorithm.train() for _ in range(2)]
        while "episode_return_band_0" not in seen.results[-1]["apex"]:  # a long episode of those that explore least
            seen.results.append(algorithm.train())
        seen.evaluation = algorithm.evaluate()
        seen.checkpoint = Path(algorithm.save_to_path(folder / "checkpoint"))
        seen.old_checkpoint = algorithm.save().checkpoint
        seen.action = algorithm.compute_single_action(np.zeros(4, np.float32))
        algorithm.export_policy_model(str(folder / "exported"))
        seen.run = algorithm.run_folder
        seen.during = living_actors(state), node_processes()
        algorithm.stop()
        seen.actors, seen.processes = living_actors(state), before_again(node_processes, [])
        seen.after = shared_memory(), before_again(threads, seen.before[1])
        seen.groups = [group for group in list_placement_groups(state) if group.state != "REMOVED"]
        seen.free = ray.available_resources().get("CPU")
        yield seen
    finally:
        ray.shutdown()


def living_actors(state):
    return [actor.name for actor in list_actors(state, filters=[("state", "!=", "DEAD")])]


def test_it_is_an_algorithm_whose_results_have_rllibs_keys(facade):
    assert isinstance(facade.algorithm, Algorithm) and facade.before_start is None
    last = facade.results[-1]
    check_train_results_new_api_stack(last)
    env = last["env_runners"]
    assert env["episode_return_mean"] == last["episode_reward_mean"] == last["apex"]["episode_return_band_0"] > 0
    assert last["episode_reward_min"] <= last["episode_reward_mean"] <= last["episode_reward_max"]
    assert last["num_env_steps_sampled_lifetime"] == last["timesteps_total"] >= 400
    assert env["num_env_steps_sampled"] == last["timesteps_total"] - facade.results[-2]["timesteps_total"] >= 200
    assert last["num_env_steps_trained_lifetime"] == 16 * last["apex"]["updates"] > 0
    assert 1 <= last["fault_tolerance"]["num_healthy_workers"] <= 2, "the other one may be starting yet"
    assert last["training_iteration"] == len(facade.results)
    assert last["replay_buffer"]["num_env_steps_stored"] > 200
    assert "evaluation" not in facade.results[0]
    assert (
        facade.results[1]["evaluation"]["env_runners"]["num_episodes"]
        == facade.evaluation["env_runners"]["num_episodes"]
        == 2
    )


def test_stop_leaves_nothing(facade):
    actors, processes = facade.during
    assert len(actors) == len(processes) == 7, "two actors, learner, shard, weights, metrics, evaluator"
    assert facade.actors == facade.processes == facade.groups == [] and facade.free == 4.0
    assert facade.after == facade.before
    with pytest.raises(UserError, match=r"has ended \(stop\(\) was called\); restore a checkpoint"):
        facade.algorithm.train()


def test_the_module_acts_as_the_policy_does(facade):
    """Of the checkpoint, in this process, without any process of a run being started."""
    module = ApexDQN.from_checkpoint(str(facade.checkpoint)).get_module()
    policy = load_policy(facade.checkpoint, "latest")
    observations = np.random.default_rng(0).normal(scale=100.0, size=(500, 4)).astype(np.float32)
    found = module.forward_inference({"obs": torch.from_numpy(observations)})
    expected = policy(observations)
    q_values = policy.q_values(observations)
    assert len(np.unique(q_values[:, 0])) > 100, "else every policy would pass"
    np.testing.assert_array_equal(found["actions"], expected)
    np.testing.assert_array_equal(found["qf_preds"], q_values)
    np.testing.assert_array_equal(q_values.argmax(1), expected)
    np.testing.assert_array_equal(found["action_dist_inputs"].argmax(1), expected)
    drawn = module.get_inference_action_dist_cls().from_logits(found["action_dist_inputs"]).sample()
    np.testing.assert_array_equal(drawn, expected)
    explored = module.forward_exploration({"obs": torch.from_numpy(observations)})["actions"].numpy()
    assert 0 < (explored != expected).sum() < 250
    assert facade.action in (0, 1)
    path = facade.checkpoint / "learner_group" / "learner" / "rl_module" / "default_policy"
    again = ApexModule.from_checkpoint(path).forward_inference({"obs": torch.from_numpy(observations)})
    np.testing.assert_array_equal(again["qf_preds"], found["qf_preds"])
    exported = torch.jit.load(str(facade.folder / "exported" / "model.pt"))
    assert exported(torch.from_numpy(observations[:, None])).shape == (500, 2)


UNSTOPPED = """
import ray, sys
from tests.apex_ray.rllib.facade import config

if __name__ == "__main__":
    if sys.argv[2] != "own":
        ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, object_store_memory=2**28)
    algorithm = config(sys.argv[1]).build_algo()
    algorithm.train()
    print("RUN", algorithm.run_folder)
    if sys.argv[2] == "shutdown":
        ray.shutdown()
        algorithm.stop()
        assert not ray.is_initialized()
"""


@pytest.mark.parametrize("how", ["own", "joined", "shutdown"])
def test_a_program_that_does_not_stop_leaves_nothing_and_ray_is_quiet(tmp_path, how):
    """On a Ray of the run's own, on the program's, and where the program has ended that one first."""
    program = tmp_path / "unstopped.py"
    program.write_text(UNSTOPPED)
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, program, tmp_path, how],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root), "RAY_ADDRESS": ""},
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "retries" not in done.stdout + done.stderr and "Traceback" not in done.stderr
    run = Path(done.stdout.partition("RUN ")[2].splitlines()[0])
    if how != "shutdown":
        assert read_record(run)["starts"][-1]["ended"]["why"] == "the program did not stop it"
        assert load_checkpoint(run).counters.updates > 0
    left = [p for p in psutil.process_iter() if str(tmp_path) in name_of(p)]
    assert left == []


ELSEWHERE = """
import json, sys
from apex_ray.rllib import ApexDQN
from apex_ray.learner.checkpoint import load_checkpoint

if __name__ == "__main__":
    algorithm = ApexDQN.from_checkpoint(sys.argv[1])
    result = algorithm.train()
    algorithm.stop()
    generation = load_checkpoint(algorithm.run_folder).counters.generation
    print("RESULT", json.dumps({"iteration": result["training_iteration"], "row": result["apex"],
          "steps": result["env_runners"]["num_env_steps_sampled"], "generation": generation}))
"""


def test_another_process_goes_on_from_a_checkpoint(facade, tmp_path):
    """Counters, weights with the optimizer, and the replay, which is not filled again."""
    facts, counters = saved.facts(facade.checkpoint), load_checkpoint(facade.checkpoint).counters
    replay_bytes = sum(path.stat().st_size for path in (facade.checkpoint / "replay").rglob("*") if path.is_file())
    assert facts["replay_bytes"] == replay_bytes > 0
    assert facts["bytes"] > facts["replay_bytes"]
    program = tmp_path / "elsewhere.py"
    program.write_text(ELSEWHERE)
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, program, facade.checkpoint],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root), "RAY_ADDRESS": ""},
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "replay starts empty" not in done.stdout
    found = json.loads(done.stdout.partition("RESULT ")[2].splitlines()[0])
    assert found["iteration"] == facts["training_iteration"] + 1 == len(facade.results) + 1
    assert found["row"]["updates"] > counters.updates and found["steps"] >= 200
    assert found["row"]["frames"] == counters.frames + found["steps"]
    assert found["row"]["replay_transitions"] > facade.results[-1]["replay_buffer"]["num_env_steps_stored"]
    assert found["generation"] == counters.generation + 1, "else it would explore with the same random numbers"


def test_old_checkpoints_objects_are_taken(facade):
    again = ApexDQN.from_checkpoint(facade.old_checkpoint)
    assert again.iteration == len(facade.results) and again.config.store_buffer_in_checkpoints is True
    again.stop()


def test_a_checkpoint_that_is_none_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no whole checkpoint of apex-ray; expected a folder with trial\.json"):
        ApexDQN.from_checkpoint(str(tmp_path))
