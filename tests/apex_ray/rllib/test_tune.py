"""ApexDQN as a trainable of Ray Tune: by its name, from a configuration, beside another run on the same Ray."""

import pytest
import ray
from mlflow import MlflowClient
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.air.integrations.wandb import WandbLoggerCallback
from ray.tune.schedulers import PopulationBasedTraining

from apex_ray.rllib import NAMES, ApexDQN, register
from tests.apex_ray.rllib.facade import config
from tests.rays import ray_of

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    for name, value in {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "WANDB_API_KEY": "0" * 40}.items():
        monkeypatch.setenv(name, value)  # before Ray's processes inherit it
    with ray_of(12):
        register()  # other tests of this process have left a Ray
        yield


def test_a_grid_runs_beside_another_run_which_goes_on(cluster, tmp_path, request):
    """Two seeds at once, with a run of this process on the same Ray; with --every all of them on Ray.
    MLflow and, offline, Weights & Biases hear of them by Ray's own callbacks.
    """
    tracking = f"sqlite:///{tmp_path}/mlflow.db"
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
        callbacks=[
            MLflowLoggerCallback(tracking_uri=tracking, experiment_name="grid"),
            WandbLoggerCallback(project="grid"),
        ],
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
    client = MlflowClient(tracking_uri=tracking)
    logged = client.search_runs([client.get_experiment_by_name("grid").experiment_id])
    assert sorted(one.data.params["seed"] for one in logged) == ["1", "2"]
    assert all(one.data.metrics["training_iteration"] == 2 for one in logged)
    assert len(list(tmp_path.rglob("offline-run-*/*.wandb"))) == 2


class Exploits(tune.Callback):
    """Which trials took over another one's checkpoint, as the rates that they went on with tell."""

    def __init__(self):
        self.rates, self.changed = {}, []

    def on_trial_result(self, iteration, trials, trial, result, **info):
        rate = result["config"]["lr"]
        if self.rates.setdefault(trial.trial_id, rate) != rate:
            self.changed.append(trial.trial_id)
            self.rates[trial.trial_id] = rate


def test_a_population_exploits(cluster, tmp_path):
    """By RLlib's name of the rate; the worse of two goes on from the better one's checkpoint."""
    seen, space = Exploits(), config("runs", mode="serial").to_dict() | {"lr": tune.grid_search([1e-5, 1e-3])}
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration", metric="num_env_steps_sampled_lifetime", mode="max", synch=True,
        perturbation_interval=2, quantile_fraction=0.5, hyperparam_mutations={"lr": tune.loguniform(1e-5, 1e-2)},
    )  # fmt: skip
    run = tune.RunConfig(storage_path=str(tmp_path), stop={"training_iteration": 4}, verbose=0, callbacks=[seen])
    results = tune.Tuner(
        NAMES[0], param_space=space, run_config=run, tune_config=tune.TuneConfig(scheduler=scheduler)
    ).fit()
    assert not results.errors, results.errors
    assert seen.changed, "none was exploited"
    assert [result.metrics["training_iteration"] for result in results] == [4, 4]
