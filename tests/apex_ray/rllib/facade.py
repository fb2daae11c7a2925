"""A configuration that is only what the algorithm reads of one: any of a run's settings, and RLlib's pace."""

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

from apex_ray.rllib import ApexDQN
from tests.apex_ray.runs import cartpole


class Config(AlgorithmConfig):
    def __init__(self, algo_class=None):
        super().__init__(algo_class or Algo)
        self.sections = {}
        self.own_parts = {}
        self.store_buffer_in_checkpoints = False
        self.min_time_s_per_iteration = 1
        self.min_sample_timesteps_per_iteration = 200

    def validate(self):
        pass

    def to_settings(self):
        return cartpole(**self.sections)


class Algo(ApexDQN):
    @classmethod
    def get_default_config(cls):
        return Config()
