"""An agent with a state: it counts the steps of each environment's episode, and replay keeps the count."""

from __future__ import annotations

from typing import Any

import numpy as np

from apex_ray.agent.contract import State
from apex_ray.agent.q_learning import QLearning
from apex_ray.config.schema import ApexConfig
from apex_ray.fields import Field
from apex_ray.types import EnvSpec


class CountingAgent(QLearning):
    def __init__(self, spec: EnvSpec, config: ApexConfig) -> None:
        super().__init__(spec, config)
        counted = {"counted": Field("int64")}
        self.fields, self.outputs = self.fields | counted, self.outputs | counted

    def initial_state(self, num_envs: int) -> State:
        return {"steps": np.zeros(num_envs, np.int64)}

    def infer(self, network: Any, observations: Any, state: Any) -> Any:
        outputs, _ = super().infer(network, observations, state)
        return {**outputs, "counted": state["steps"]}, {"steps": state["steps"] + 1}
