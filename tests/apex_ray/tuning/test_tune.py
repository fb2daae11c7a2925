"""Ray Tune over runs: early stopping, a population, a trial whose process is killed, and where trials are placed.

Trials run in one process each, for speed; with --every on Ray, in placement groups of their own.
"""

import os
import signal
from pathlib import Path

import pytest
import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler, PopulationBasedTraining

import apex_ray
from tests.rays import ray_of
from trainkit.errors import UserError

pytestmark = pytest.mark.timeout(600)
SMALL = (
    "actors.count=1", "actors.envs_per_actor=2", "replay.capacity_transitions=4000", "replay.min_transitions=200",
    "network.mlp_layers=[16]", "network.hidden=16", "learner.batch_size=16", "learner.threads=1", "learner.device=cpu",
    "report.every_s=0.5", "evaluation.every_s=1000", "evaluation.video=false", "evaluation.final=false",
    "evaluation.episodes=2",
)  # fmt: skip
RATES = {"learner.learning_rate": tune.loguniform(1e-5, 1e-2), "seed": tune.randint(1, 1000)}


@pytest.fixture(scope="module")
def cluster():
    with ray_of(8):
        yield


@pytest.fixture(params=["serial", "ray"])
def small(request, cluster):
    """A trainable of short runs."""
    if request.param == "ray" and not request.config.getoption("--every"):
        pytest.skip("trials on Ray: with --every")
    return apex_ray.trainable("cartpole", *SMALL, f"mode={request.param}", replay=True)


def fitted(trainable, tmp_path, space=RATES, callbacks=(), checkpoint=None, failures=0, stop=None, **how):
    run = tune.RunConfig(
        storage_path=str(tmp_path), verbose=0, stop=stop, callbacks=list(callbacks),
        checkpoint_config=checkpoint or tune.CheckpointConfig(),
        failure_config=tune.FailureConfig(max_failures=failures),
    )  # fmt: skip
    found = tune.Tuner(trainable, param_space=space, tune_config=tune.TuneConfig(**how), run_config=run).fit()
    assert not found.errors, found.errors
    assert ray.util.list_named_actors(all_namespaces=True) == [], "a run's processes outlived its trial"
    return list(found)


def test_asha_ends_trials_early(small, tmp_path):
    scheduler = ASHAScheduler(max_t=4, grace_period=1, reduction_factor=2)
    # One after the other, each with half the updates of the one before: the first is the best, and known first.
    space = RATES | {"learner.batch_size": tune.grid_search([16, 32, 64, 128])}
    given = {"metric": "updates", "mode": "max", "scheduler": scheduler, "max_concurrent_trials": 1}
    results = fitted(small, tmp_path, space, **given)
    lengths = sorted(result.metrics["training_iteration"] for result in results)
    assert len(lengths) == 4 and lengths[0] < lengths[-1] == 4
    assert len({result.config["learner.learning_rate"] for result in results}) == 4
    assert all(result.metrics["frames"] > 0 for result in results)


class Exploits(tune.Callback):
    """Which trials were restored from another's checkpoint: they go on with more updates than they had made."""

    def __init__(self):
        self.rates, self.changed = {}, []

    def on_trial_result(self, iteration, trials, trial, result, **info):
        rate = result["config"]["learner.learning_rate"]
        if self.rates.setdefault(trial.trial_id, rate) != rate:
            self.changed.append((trial.trial_id, result["updates"]))
            self.rates[trial.trial_id] = rate


def test_a_population_exploits_and_goes_on(small, tmp_path):
    """The worse of two takes over the better's run, with another learning rate, where the better one was."""
    seen = Exploits()
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration", perturbation_interval=2, quantile_fraction=0.5, synch=True,
        hyperparam_mutations={"learner.learning_rate": tune.loguniform(1e-5, 1e-2)},
    )  # fmt: skip
    results = fitted(
        small, tmp_path, callbacks=[seen], stop={"training_iteration": 4},
        metric="updates", mode="max", num_samples=2, scheduler=scheduler,
    )  # fmt: skip
    assert seen.changed, "none was exploited"
    assert [result.metrics["training_iteration"] for result in results] == [4, 4]
    resumes = [Path(result.metrics["run"]) / "resumes.jsonl" for result in results]
    changed = [path for path in resumes if path.exists() and "learner.learning_rate" in path.read_text()]
    assert changed, "no run says that its learning rate changed as it went on"


class Kill(tune.Callback):
    """Kill the trial's own process once it has a checkpoint."""

    def __init__(self):
        self.killed, self.after = None, []

    def on_trial_result(self, iteration, trials, trial, result, **info):
        if self.killed is None and result["training_iteration"] == 3:
            self.killed = result
            os.kill(result["pid"], signal.SIGKILL)
        elif self.killed is not None:
            self.after.append(result)


def test_a_trial_whose_process_is_killed_goes_on(small, tmp_path):
    seen = Kill()
    (result,) = fitted(
        small, tmp_path, callbacks=[seen], failures=1, stop={"training_iteration": 5},
        checkpoint=tune.CheckpointConfig(checkpoint_frequency=1),
    )  # fmt: skip
    first = seen.after[0]
    assert first["pid"] != seen.killed["pid"] and first["iterations_since_restore"] == 1
    assert first["training_iteration"] in (3, 4) and first["updates"] > 0
    assert first["frames"] > 0.5 * seen.killed["frames"], "it began anew"
    assert result.metrics["training_iteration"] == 5


def test_a_trial_has_its_own_placement_group(cluster, tmp_path):
    """Every process of the run is in it, the actors too: nothing else of the cluster is taken."""
    trainable = apex_ray.trainable("cartpole", *SMALL, "actors.count=2", "mode=ray")
    request = trainable.default_resource_request({})
    assert request.head_bundle_is_empty and [bundle["CPU"] for bundle in request.bundles] == [1.0, 1.0, 1.0]
    seen = Reserved()
    fitted(trainable, tmp_path, space={}, callbacks=[seen], stop={"training_iteration": 1})
    assert seen.free == [5.0]


class Reserved(tune.Callback):
    def __init__(self):
        self.free = []

    def on_trial_result(self, iteration, trials, trial, result, **info):
        assert result["actors_alive"] == 2
        self.free.append(ray.available_resources()["CPU"])


def test_a_setting_that_there_is_not_is_named():
    with pytest.raises(UserError, match=r"learner\.learning_rat.*learner\.learning_rate"):
        apex_ray.trainable("cartpole", "learner.learning_rat=1")
    small = apex_ray.trainable("cartpole", *SMALL)
    with pytest.raises(UserError, match=r"td\.n_stp.*td\.n_step"):
        small.settings({"td.n_stp": 3})
    assert small.settings({"td": {"n_step": 5}, "env.kwargs": {}}).td.n_step == 5
