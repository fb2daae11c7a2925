"""What the Q-learning agent makes of windows and batches, by hand."""

import numpy as np

from apex_ray.agent.build import build_agent
from apex_ray.config.schema import ApexConfig, EnvConfig
from apex_ray.types import EnvSpec

AGENT = build_agent(ApexConfig(env=EnvConfig(id="fake")), EnvSpec.of_frames("fake", (3,), "float32", 2, 2, 1))


def test_first_priorities_are_td_errors_by_the_actors_own_values():
    window = {
        "q_values": np.float32([[[1, 2], [5, 4], [0, 8], [7, 6]]]),  # [1, T + n, A] with T = 2, n = 2
        "actions": np.int32([[0, 1]]),
        "returns": np.float32([[0.5, 1.0]]),
        "discounts": np.float32([[0.25, 0.5]]),
        "steps": np.uint8([[2, 1]]),
    }
    # 0.5 + 0.25 * max(0, 8) - 1 = 1.5; 1 + 0.5 * max(0, 8) - 4 = 1
    np.testing.assert_allclose(AGENT.priorities(window), [[1.5, 1.0]])


def test_greedy_choices_without_epsilon():
    outputs = {"q_values": np.float32([[1, 2], [4, 3]])}
    assert AGENT.choose(outputs, np.zeros(2, np.float32), np.random.default_rng(0)).tolist() == [1, 0]
