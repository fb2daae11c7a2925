"""An agent for comparisons: `agent=benchmarks.first_priorities:AllAlike` gives every new transition one priority."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from apex_ray.agent.q_learning import QLearning
from apex_ray.types import AnyArray, Float64Array


class AllAlike(QLearning):
    """As a replay of the learner's own would: what is new is drawn before anything is known of it."""

    def priorities(self, window: Mapping[str, AnyArray]) -> Float64Array:
        return np.ones(window["actions"].shape[:2], np.float64)
