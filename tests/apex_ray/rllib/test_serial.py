"""What needs no processes of a run: callbacks, pace, restoring with other settings. In one process, for speed."""

import gc
import shutil
from pathlib import Path

import pytest
import ray
from ray.rllib.callbacks.callbacks import RLlibCallback

from apex_ray.config.schema import ActorsConfig
from apex_ray.learner.checkpoint import load_checkpoint
from apex_ray.rllib import ApexDQN, results
from apex_ray.rllib.events import CALLED, OTHERS
from apex_ray.tuning import saved
from tests.apex_ray.rllib.facade import config
from trainkit.errors import UserError
from trainkit.run_layout import read_record

pytestmark = pytest.mark.timeout(300)
HEARD = []


class Heard(RLlibCallback):
    def on_algorithm_init(self, *, algorithm, metrics_logger=None, **kwargs):
        HEARD.append("init")

    def on_train_result(self, *, algorithm, metrics_logger=None, result, **kwargs):
        result["mine"] = algorithm.iteration
        metrics_logger.log_value("logged", 3.0)
        HEARD.append("result")

    def on_evaluate_start(self, *, algorithm, metrics_logger=None, **kwargs):
        HEARD.append("evaluate")

    def on_evaluate_end(self, *, algorithm, metrics_logger=None, evaluation_metrics, **kwargs):
        HEARD.append(evaluation_metrics["env_runners"]["num_episodes"])

    def on_checkpoint_loaded(self, *, algorithm, **kwargs):
        HEARD.append("loaded")

    def on_episode_end(self, *, episode, **kwargs):
        raise AssertionError("episodes are not RLlib's here")


def test_callbacks_are_called_and_those_that_never_are_named(tmp_path, caplog):
    HEARD.clear()
    functions = []
    made = config(tmp_path, mode="serial")
    made.callbacks(Heard, on_train_result=lambda **given: functions.append(given["result"]["training_iteration"]))
    with caplog.at_level("WARNING", "apex_ray.rllib.algorithm"):
        algorithm = ApexDQN(made)
    assert "never called here: on_episode_end" in caplog.text
    results = [algorithm.train() for _ in range(2)]
    algorithm.evaluate()
    algorithm.restore(algorithm.save())
    algorithm.stop()
    assert HEARD == ["init", "result", "result", "evaluate", 2, "loaded"] and functions == [1, 2]
    assert results[0]["mine"] == 1 and results[1]["logged"] == 3.0


def test_every_event_of_rllib_is_either():
    assert {name for name in vars(RLlibCallback) if name.startswith("on_")} == CALLED | OTHERS


def test_an_iteration_is_as_long_as_was_asked_for(tmp_path):
    pace = {"min_time_s_per_iteration": 0, "min_sample_timesteps_per_iteration": 0}
    pace["min_train_timesteps_per_iteration"] = 16 * 250
    algorithm = ApexDQN(config(tmp_path, pace, mode="serial"))
    first, second = algorithm.train(), algorithm.train()
    algorithm.stop()
    for result in (first, second):
        assert result["num_env_steps_trained_this_iter"] >= 16 * 250
    assert second["training_iteration"] == 2 and not second["done"]


def test_a_limit_of_stop_is_done(tmp_path):
    algorithm = ApexDQN(config(tmp_path, mode="serial", stop={"after_updates": 30}))
    while not algorithm.train()["done"]:
        pass
    algorithm.stop()
    assert load_checkpoint(algorithm.run_folder).counters.updates == 30


def test_a_checkpoint_is_restored_with_other_settings_where_they_may_differ(tmp_path):
    """As population-based training does; what the network depends on may not."""
    first = ApexDQN(config(tmp_path, mode="serial"))
    first.train()
    path = first.save_to_path(tmp_path / "checkpoint")
    first.stop()
    other = ApexDQN(config(tmp_path, mode="serial", seed=5, learner={"learning_rate": 5e-4}))
    other.restore_from_path(path)
    result = other.train()
    other.stop()
    assert result["learners"]["default_policy"]["default_optimizer_learning_rate"] == 5e-4
    assert result["training_iteration"] == 2
    assert "learner.learning_rate" in (other.run_folder / "resumes.jsonl").read_text()
    wrong = ApexDQN(config(tmp_path, mode="serial", network={"hidden": 24}))
    wrong.train()
    run = wrong.run_folder
    for restored in (wrong.restore_from_path, wrong.restore):
        with pytest.raises(UserError, match=r"^ApexDQN: restoring a checkpoint can't change network\.hidden 16 -> 24"):
            restored(path)
    result = wrong.train()
    assert result["training_iteration"] == wrong.iteration == 2 and wrong.run_folder == run, "it goes on"
    wrong.stop()


@pytest.mark.parametrize("where", ["own run", "other run", "foreign", "file"])
def test_nothing_else_is_overwritten(tmp_path, where):
    """Refused before anything is touched; a folder that is empty or holds a checkpoint is filled."""
    algorithm = ApexDQN(config(tmp_path, mode="serial"))
    algorithm.train()
    folder = {"own run": algorithm.run_folder}.get(where, tmp_path / "there")
    if where == "other run":
        shutil.copytree(algorithm.run_folder, folder)
    elif where == "foreign":
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "checkpoints" / "mine.txt").write_text("precious")
    elif where == "file":
        folder.write_text("precious")
    before = sorted(tmp_path.rglob("checkpoints/*"))
    with pytest.raises(UserError, match="expected a folder that is new, empty, or holds an earlier checkpoint"):
        algorithm.save_to_path(folder)
    assert sorted(tmp_path.rglob("checkpoints/*")) == before
    assert algorithm.train()["training_iteration"] == 2
    (tmp_path / "empty").mkdir()
    for _ in range(2):
        assert saved.facts(Path(algorithm.save_to_path(tmp_path / "empty")))
    algorithm.stop()


def test_a_stop_before_the_first_step_is_remembered(tmp_path):
    algorithm = ApexDQN(config(tmp_path, mode="serial"))
    algorithm.stop()
    with pytest.raises(UserError, match=r"has ended \(stop\(\) was called\); restore a checkpoint"):
        algorithm.train()
    assert algorithm.run_folder is None


def test_a_run_that_nobody_stops_ends_as_it_is_deleted(tmp_path):
    algorithm = ApexDQN(config(tmp_path, mode="serial"))
    updates = algorithm.train()["apex"]["updates"]
    run = algorithm.run_folder
    del algorithm
    gc.collect()
    assert read_record(run)["starts"][-1]["ended"]["why"] == "the program did not stop it"
    assert load_checkpoint(run).counters.updates >= updates


def test_returns_are_those_of_the_least_exploring():
    row = {"episode_return": 1.0, "episode_return_band_0": 2.0}
    for actors, expected in ((ActorsConfig(), 2.0), (ActorsConfig(epsilon_alpha=0.0), 1.0)):
        iteration = results.Iteration(1, 16, 1e-3, {}, 1.0, has_ladder=results.has_ladder(actors))
        found = results.of_iteration(row, iteration)
        assert found["episode_reward_mean"] == found["env_runners"]["episode_return_mean"] == expected


def test_the_learner_of_a_trial_takes_one_core_where_all_free_ones_were_meant(tmp_path):
    made = config(tmp_path, learner={"threads": "auto"})
    assert ApexDQN.default_resource_request(made).bundles[0]["CPU"] == 1.0


def test_a_resource_request_has_a_bundle_for_each_process(tmp_path):
    request = ApexDQN.default_resource_request(config(tmp_path))
    assert request.head_bundle_is_empty and len(request.bundles) == 3, "the learner with its shard, two actors"
    assert ApexDQN.default_resource_request(config(tmp_path, mode="serial")).bundles == [{"CPU": 1.0}]
    assert not ray.is_initialized()
