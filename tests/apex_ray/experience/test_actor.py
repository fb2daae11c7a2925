"""The actor's loop by itself, on a real environment."""

import numpy as np

from apex_ray.agent.q_learning import QLearning
from apex_ray.envs.make import probe
from apex_ray.parts import build_actors, local_inference
from apex_ray.types import Weights
from tests.apex_ray.runs import cartpole


class Told(QLearning):
    """Remembers what it was told to explore with."""

    def __init__(self, *args):
        super().__init__(*args)
        self.epsilons = []

    def choose(self, outputs, epsilons, rng):
        self.epsilons.append(epsilons)
        return super().choose(outputs, epsilons, rng)


class Published:
    """A source whose newest weights are what it is given."""

    def __init__(self):
        self.newest = None

    def request(self, newer_than):
        pass

    def poll(self):
        return self.newest


def test_exploration_follows_its_schedule_by_the_version_of_the_weights():
    actors = {"envs_per_actor": 2, "epsilon_base": 0.5, "epsilon_alpha": 1.0}
    config = cartpole(actors={**actors, "epsilon_schedule": [[0, 1.0], [100, 0.3]]})
    spec = probe(config.env)
    agent, source = Told(spec, config), Published()
    inference = local_inference(config, agent, source)
    (actor,) = build_actors(config, spec, agent, 0, 1, inference)
    params = {name: p.detach().numpy() for name, p in agent.network().named_parameters()}
    for version in (None, 50, 100, 400):
        source.newest = None if version is None else Weights(version, params)
        actor.start_step()
        actor.finish_step()
    actor.close()
    # Rungs 0.5 and 0.25; the schedule has 1, 0.65, 0.3 and 0.3.
    np.testing.assert_allclose(agent.epsilons, [[1, 1], [0.65, 0.65], [0.5, 0.3], [0.5, 0.3]], rtol=1e-6)
