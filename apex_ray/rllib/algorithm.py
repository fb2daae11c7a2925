"""RLlib's Algorithm over a run of apex-ray: its own actors, replay and learner, not EnvRunners and LearnerGroups."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.fs
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.tune import PlacementGroupFactory

from apex_ray.config.schema import ApexConfig
from apex_ray.rllib import folders, results
from apex_ray.rllib.config import ApexDQNConfig
from apex_ray.rllib.environments import register_again
from apex_ray.rllib.events import Events
from apex_ray.rllib.module import ApexModule, module_of
from apex_ray.tuning import saved
from apex_ray.tuning.request import placement
from apex_ray.tuning.trial import Trial
from apex_ray.types import AnyArray, EvaluationResult
from trainkit.errors import UserError
from trainkit.schedule import piecewise_linear

NEVER_S = 1e9  # the run evaluates when it is asked to
# Of the AlgorithmConfig, what the run's own settings do not hold and a checkpoint brings back.
PACE = (
    "min_time_s_per_iteration",
    "min_sample_timesteps_per_iteration",
    "min_train_timesteps_per_iteration",
    "evaluation_interval",
    "store_buffer_in_checkpoints",
)
# What Trainable.restore() sets before it looks at the checkpoint.
COUNTED = (
    "_iteration",
    "_time_total",
    "_time_since_restore",
    "_iterations_since_restore",
    "_timesteps_total",
    "_timesteps_since_restore",
    "_episodes_total",
    "_restored",
)
ALONE = "default"  # Trainable's trial_id outside of Tune
log = logging.getLogger(__name__)


class ApexDQN(Algorithm):  # type: ignore[misc]
    """Ape-X DQN (Horgan et al. 2018) for programs that know RLlib or Ray Tune.

    The run's processes start with the first call that needs them, such as `train`; they go on acting and learning
    between the calls, as its actors and its learner wait for nobody. `stop` ends them. What the run writes (metrics,
    checkpoints, curve) is in `run_folder`, as of `apex-ray train`.

    UserError when it is made, for every mistake in the configuration that shows before anything starts.
    """

    @classmethod
    def get_default_config(cls) -> AlgorithmConfig:
        return ApexDQNConfig()

    @staticmethod
    def _get_env_id_and_creator(env_specifier: Any, config: AlgorithmConfig) -> tuple[Any, Any]:
        """The run's processes make their environments; this one has none."""
        return env_specifier, None

    def setup(self, config: AlgorithmConfig) -> None:
        self._events = Events(self.config)
        self.callbacks = self._events.objects
        self.env_runner_group = None
        settings: ApexConfig = self.config.to_settings()
        if self.trial_id != ALONE:
            settings = one_of_many(settings)
        evaluation = settings.evaluation.model_copy(update={"every_s": NEVER_S, "final": False})
        self._trial = Trial(settings.model_copy(update={"evaluation": evaluation}), before=register_again)
        self._row: results.Row = {}
        self._module: tuple[int, ApexModule] | None = None
        if unheard := self._events.never_called():
            log.warning("callbacks that are never called here: %s (docs/migration.md)", ", ".join(unheard))
        self._events("on_algorithm_init", algorithm=self, metrics_logger=self.metrics)

    @property
    def run_folder(self) -> Path | None:
        """Of the run; None before it has started."""
        return self._trial.folder

    def step(self) -> dict[str, Any]:
        """One iteration: as long as the three `min_...per_iteration` of the configuration say, a second at least."""
        row, seconds, reason = self._go_on()
        interval, evaluation, evaluation_s = self.config.evaluation_interval, None, 0.0
        if interval and (self.iteration + 1) % interval == 0:
            with folders.timed() as took:
                evaluation = self.evaluate()
            evaluation_s = took()
        learner = self._trial.config.learner
        points = learner.learning_rate_schedule
        rate = piecewise_linear(int(row["updates"]), points) if points else learner.learning_rate
        iteration = results.Iteration(
            self._trial.spec.frame_skip,
            learner.batch_size,
            rate,
            self._row,
            seconds,
            evaluation_s,
            has_ladder=results.has_ladder(self._trial.config.actors),
        )
        result = {**self.metrics.reduce(), **results.of_iteration(row, iteration), "done": reason is not None}
        self._row = row
        return result if evaluation is None else results.with_evaluation(result, evaluation)

    def _go_on(self) -> tuple[results.Row, float, str | None]:
        config, learner = self.config, self._trial.config.learner
        skip, before = self._trial.spec.frame_skip, self._row
        sampled, trained = config.min_sample_timesteps_per_iteration, config.min_train_timesteps_per_iteration

        def enough(row: results.Row) -> bool:
            steps = (row["frames"] - before.get("frames", 0)) / skip
            samples = (row["updates"] - before.get("updates", 0)) * learner.batch_size
            return steps >= (sampled or 1) and samples >= (trained or 0)

        with folders.timed() as took:
            row, reason = self._trial.step(config.min_time_s_per_iteration or 0.0, enough)
        return row, took(), reason

    def evaluate(self, parallel_train_future: Any = None) -> dict[str, Any]:
        """Whole episodes with the newest weights, by the run's evaluator, as training goes on."""
        self._events("on_evaluate_start", algorithm=self, metrics_logger=self.metrics)
        played: EvaluationResult = self._trial.evaluate()
        found = results.of_evaluation(played)
        self._events("on_evaluate_end", algorithm=self, metrics_logger=self.metrics, evaluation_metrics=found)
        return found

    def log_result(self, result: dict[str, Any]) -> None:
        self._events("on_train_result", algorithm=self, metrics_logger=self.metrics, result=result)

    def cleanup(self) -> None:
        if hasattr(self, "_trial"):  # setup may have refused
            drawn = self.trial_id == ALONE  # nobody looks at those of Tune's trials
            self._trial.stop("stop() was called", drawn)

    # What acts

    def get_module(self, module_id: str = DEFAULT_MODULE_ID) -> ApexModule | None:
        """The policy with the newest weights, on this machine's CPU; None for an unknown module."""
        if module_id != DEFAULT_MODULE_ID:
            return None
        return module_of(self._trial.config, self._trial.spec, self._trial.params())

    def get_weights(self, policies: list[str] | None = None) -> dict[str, dict[str, AnyArray]]:
        """The newest parameters by name, of the one module."""
        return {DEFAULT_MODULE_ID: self._trial.params()}

    def set_weights(self, weights: Mapping[str, Any]) -> None:
        raise UserError("set_weights: a run's learner has its weights; expected learner.init_from, or restore")

    def compute_single_action(
        self, observation: Any = None, state: Any = None, *, explore: bool | None = None, **kwargs: Any
    ) -> Any:
        """What the policy does for one observation, greedily unless `explore`. For many, `get_module` is faster."""
        if state:
            raise UserError("compute_single_action: no state is taken; expected get_module().forward_inference")
        batch = {Columns.OBS: _of_one(observation)}
        if self._module is None or self._module[0] != self.iteration:
            module = self.get_module()
            assert module is not None
            self._module = self.iteration, module
        forward = self._module[1].forward_exploration if explore else self._module[1].forward_inference
        action = forward(batch)[Columns.ACTIONS][0].numpy()
        return int(action) if action.ndim == 0 else action

    def compute_actions(self, observations: Mapping[Any, Any], *args: Any, **kwargs: Any) -> dict[Any, Any]:
        """`compute_single_action` for each of several observations by name."""
        return {name: self.compute_single_action(observation, **kwargs) for name, observation in observations.items()}

    def get_policy(self, policy_id: str = DEFAULT_MODULE_ID) -> Any:
        raise UserError("get_policy: there are no Policy objects; expected get_module() or compute_single_action()")

    def export_policy_model(self, export_dir: str, policy_id: str = DEFAULT_MODULE_ID, onnx: int | None = None) -> None:
        """Write the network for other programs: model.pt (TorchScript), or model.onnx where `onnx` is given."""
        from apex_ray.export import export_run

        kind: Any = "torchscript" if onnx is None else "onnx"
        Path(export_dir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            self.save_to_path(folder, replay=False)
            export_run(Path(folder), "latest", kind, Path(export_dir) / f"model.{'pt' if onnx is None else 'onnx'}")

    # Checkpoints

    def save_to_path(
        self,
        path: str | Path | None = None,
        *,
        filesystem: pyarrow.fs.FileSystem | None = None,
        replay: bool | None = None,
        **kwargs: Any,
    ) -> str:
        """Write a checkpoint and return its folder, which is a run folder too (tuning/saved.py).

        `replay`: whether it holds the replay; None: as `store_buffer_in_checkpoints` says. NotWrittenError when there
        is no room: the run can go on.
        """
        with_replay = bool(self.config.store_buffer_in_checkpoints) if replay is None else replay
        with folders.to_fill(path, filesystem) as (folder, where):
            self._trial.save(folder, with_replay, self._facts())
            folders.write_metadata(folder, self)
        return where

    def restore_from_path(
        self, path: str | Path, *, filesystem: pyarrow.fs.FileSystem | None = None, **kwargs: Any
    ) -> None:
        """Go on from a checkpoint: weights, optimizer, counters, and the replay where it holds one.

        UserError where this configuration differs in what may not (config/resume.py).
        """
        with folders.to_read(path, filesystem) as folder:
            facts, c = self._trial.restore(folder, "ApexDQN: restoring a checkpoint")
        self._iteration = int(facts["training_iteration"])
        self._time_total = float(facts["time_total_s"])
        self._row, self._module = {"frames": c.frames, "updates": c.updates, "episodes": c.episodes}, None

    def restore(self, checkpoint_path: Any) -> None:
        """As `restore_from_path`, of what `save` returned; one that is refused changes nothing."""
        before = {name: value for name, value in vars(self).items() if name in COUNTED}
        try:
            super().restore(checkpoint_path)
        except Exception:
            self.__dict__.update(before)
            raise

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self.save_to_path(checkpoint_dir)

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        self.restore_from_path(checkpoint_dir)
        self._events("on_checkpoint_loaded", algorithm=self)

    @classmethod
    def from_checkpoint(
        cls,
        path: Any,
        filesystem: pyarrow.fs.FileSystem | None = None,
        *,
        config: AlgorithmConfig | None = None,
        policy_ids: Collection[str] | None = None,
        **kwargs: Any,
    ) -> ApexDQN:
        """An algorithm that goes on from a checkpoint, in any process.

        `config`: its settings, as `restore_from_path` takes them; None: those of the checkpoint. Callbacks are code and
        not in there.
        """
        if not isinstance(path, str | Path):  # a Checkpoint of Ray Tune's or Train's
            path, filesystem = path.path, path.filesystem
        with folders.to_read(path, filesystem) as folder:
            if config is None:
                facts, config = saved.facts(folder), ApexDQNConfig.of_run(saved.settings(folder))
                for name in PACE:
                    setattr(config, name, facts["pace"][name])
            algorithm = cls(config)
            algorithm.load_checkpoint(str(folder))
        return algorithm

    def _facts(self) -> dict[str, Any]:
        pace = {name: getattr(self.config, name) for name in PACE}
        return {
            "training_iteration": self.iteration,
            "time_total_s": self._time_total,
            "pace": pace,
        }

    @classmethod
    def default_resource_request(cls, config: Any) -> PlacementGroupFactory:
        """A bundle for each process of the run (tuning/request.py)."""
        given = config if isinstance(config, AlgorithmConfig) else cls.get_default_config().update_from_dict(config)
        return placement(one_of_many(cast(ApexConfig, given.to_settings())))

    def __repr__(self) -> str:
        if not hasattr(self, "_trial"):  # setup has refused: Ray names the actor in its error
            return type(self).__name__
        return f"{type(self).__name__}({self._trial.spec.env_id}, run folder {self.run_folder})"


def one_of_many(settings: ApexConfig) -> ApexConfig:
    """For a trial of Tune's, whose learner takes one core where all that are free were meant."""
    if settings.learner.threads != "auto":
        return settings
    return settings.model_copy(update={"learner": settings.learner.model_copy(update={"threads": 1})})


def _of_one(observation: Any) -> Any:
    """As a batch of one."""
    if isinstance(observation, Mapping):
        return {name: _of_one(part) for name, part in observation.items()}
    if isinstance(observation, tuple):
        return tuple(_of_one(part) for part in observation)
    return np.asarray(observation)[None]
