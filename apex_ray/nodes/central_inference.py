"""An actor's side of central inference. It needs no torch, whose import is most of such an actor's memory.

On the same machine a call goes through the actor's own shared memory, and Ray carries only where that is: by Ray's
object store it takes more than twice as long (docs/decisions/0024). Through Ray go those to a process that can't reach
the memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray

from apex_ray.agent.contract import State
from apex_ray.nodes.shared_memory import SharedMemory
from apex_ray.types import AnyArray, Observations

Answer = tuple[dict[str, AnyArray], State, int]  # the agent's outputs, the next state, the version of the weights
OBSERVED, BEFORE, AFTER = "observed", "before", "after"  # of an actor's memory: leaves, and the state on either side


class CentralInference:
    """Asks the node: an actor's inference and its variable client in one, since weights never come here."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._memory: SharedMemory | None = None
        self._near = True  # as far as is known
        self.version = -1

    def __call__(self, observations: Observations, state: State) -> tuple[dict[str, AnyArray], State]:
        answer = self._ask_near(observations, state) if self._near else None
        if answer is None:
            self._near, self._memory = False, None
            answer = ray.get(self._node.infer.remote(observations, state))
        outputs, after, version = answer
        self.version = max(self.version, version)
        return outputs, after

    def _ask_near(self, observations: Observations, state: State) -> Answer | None:
        """The answer to what lies in the memory; None where there can be none.

        It stays as it is until there is one, so Ray may repeat the call to a process that was started anew.
        """
        given = {**named(OBSERVED, observations), **named(BEFORE, state)}
        if self._memory is None:
            arrays = {**given, **named(AFTER, state)}
            try:
                self._memory = SharedMemory({name: (array.dtype.str, array.shape) for name, array in arrays.items()})
            except OSError:
                return None
        for name, array in given.items():
            self._memory.arrays[name][:] = array
        answer: Answer | None = ray.get(self._node.infer_at.remote(self._memory.place))
        if answer is None:
            return None
        after = {name: array.copy() for name, array in part(AFTER, self._memory.arrays).items()}  # of one group of many
        return answer[0], after, answer[2]

    def step(self) -> None:
        """Nothing to fetch."""


def named(kind: str, arrays: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    """As they are called in the memory."""
    return {f"{kind}.{name}": array for name, array in arrays.items()}


def part(kind: str, arrays: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    """What `named` was given, of all that is there."""
    return {name.removeprefix(f"{kind}."): array for name, array in arrays.items() if name.startswith(f"{kind}.")}
