"""What needs no processes of a run: callbacks, pace, restoring with other settings. In one process, for speed."""

import pytest
import ray
from ray.rllib.callbacks.callbacks import RLlibCallback

from apex_ray.learner.checkpoint import load_checkpoint
from apex_ray.rllib import ApexDQN
from apex_ray.rllib.events import CALLED, OTHERS
from tests.apex_ray.rllib.facade import config
from trainkit.errors import UserError

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
    assert algorithm.train()["done"]
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
    with pytest.raises(UserError, match=r"can't change network\.hidden 16 -> 24"):
        wrong.restore_from_path(path)


def test_a_resource_request_has_a_bundle_for_each_process(tmp_path):
    request = ApexDQN.default_resource_request(config(tmp_path))
    assert request.head_bundle_is_empty and len(request.bundles) == 3, "the learner with its shard, two actors"
    assert ApexDQN.default_resource_request(config(tmp_path, mode="serial")).bundles == [{"CPU": 1.0}]
    assert not ray.is_initialized()
