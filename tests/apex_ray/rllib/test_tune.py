"""ApexDQN as a trainable of Ray Tune: by its name, from a configuration, beside another run on the same Ray."""

import pytest
import ray
from ray import tune

from apex_ray.rllib import NAMES, ApexDQN, register
from tests.apex_ray.rllib.facade import config

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def cluster():
    ray.init(address="local", num_cpus=12, include_dashboard=False, log_to_driver=False, object_store_memory=2**28)
    register()  # other tests of this process have left a Ray
    yield
    ray.shutdown()


def test_a_grid_runs_beside_another_run_which_goes_on(cluster, tmp_path, request):
    """Two seeds at once, with a run of this process on the same Ray; with --every all of them on Ray."""
    mode = "ray" if request.config.getoption("--every") else "serial"
    beside = config(tmp_path, mode="ray").build_algo()
    before = beside.train()["timesteps_total"]
    space = config("runs", {"evaluation_interval": 1}, mode=mode)
    space.seed = tune.grid_search([1, 2])
    run = tune.RunConfig(
        storage_path=str(tmp_path / "tune"),
        stop={"training_iteration": 2},
        verbose=0,
        checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True),
    )
    results = tune.Tuner(NAMES[0], param_space=space, run_config=run).fit()
    assert not results.errors, results.errors
    assert sorted(result.metrics["config"]["seed"] for result in results) == [1, 2]
    for result in results:
        assert result.metrics["training_iteration"] == 2
        assert result.metrics["evaluation"]["env_runners"]["num_episodes"] == 2
        assert ApexDQN.from_checkpoint(result.checkpoint).iteration == 2
    assert beside.train()["timesteps_total"] > before
    beside.stop()
    assert ray.util.list_named_actors(all_namespaces=True) == []
