"""An actor's side of central inference. It needs no torch, whose import is most of such an actor's memory."""

from __future__ import annotations

from typing import Any

import ray
from ray import ObjectRef

from apex_ray.agent.contract import State
from apex_ray.types import AnyArray, Observations

Answer = tuple[dict[str, AnyArray], State, int]  # the agent's outputs, the next state, the version of the weights


class CentralInference:
    """Asks the node: an actor's inference and its variable client in one, since weights never come here."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self.version = -1

    def __call__(self, observations: Observations, state: State) -> tuple[dict[str, AnyArray], State]:
        call: ObjectRef[Answer] = self._node.infer.remote(observations, state)
        outputs, after, version = ray.get(call)
        self.version = max(self.version, version)
        return outputs, after

    def step(self) -> None:
        """Nothing to fetch."""
