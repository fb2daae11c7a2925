"""A configuration that is only what the algorithm reads of one: sections of a run's settings, and RLlib's pace."""

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

from apex_ray.rllib import ApexDQN
from tests.apex_ray.runs import cartpole


class Config(AlgorithmConfig):
    def __init__(self, algo_class=None):
        super().__init__(algo_class or Algo)
        self.sections = {}
        self.own_parts = {}
        self.store_buffer_in_checkpoints = False
        self.min_time_s_per_iteration = 0.2
        self.min_sample_timesteps_per_iteration = 200

    def validate(self):
        """Everything is RLlib's own that is not used here."""

    def to_settings(self):
        return cartpole(**self.sections)


class Algo(ApexDQN):
    @classmethod
    def get_default_config(cls):
        return Config()


def config(runs_dir, pace=None, **sections):
    made = Config()
    made.sections = {"runs_dir": str(runs_dir), **sections}
    for name, value in (pace or {}).items():
        setattr(made, name, value)
    return made
