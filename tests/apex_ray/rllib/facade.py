"""Configurations of short runs, and RLlib's pace for them."""

from apex_ray.config.resume import flat
from apex_ray.rllib import ApexDQNConfig
from tests.apex_ray.runs import cartpole

PACE = {"min_time_s_per_iteration": 0.2, "min_sample_timesteps_per_iteration": 200}


def config(runs_dir, pace=None, **sections):
    settings = flat(cartpole(runs_dir=str(runs_dir), **sections))
    if "seed" not in sections:
        del settings["seed"]  # RLlib's own key is for that
    made = ApexDQNConfig().environment("CartPole-v1").apex(settings)
    return made.update_from_dict({**PACE, **(pace or {})})
