"""The newest frames of each environment, as observations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from apex_ray.types import AnyArray, Leaf


class Stacks:
    """Observations by leaf, each one array [E, S, *F] that is written to: copy what must last longer."""

    def __init__(self, leaves: Mapping[str, Leaf], num_envs: int) -> None:
        self.arrays: dict[str, AnyArray] = {
            name: np.zeros((num_envs, leaf.stack, *leaf.shape), leaf.dtype) for name, leaf in leaves.items()
        }
        self._floats = [name for name, leaf in leaves.items() if leaf.dtype == "float32"]

    def begin(self, index: int, frames: Iterable[tuple[str, AnyArray]]) -> None:
        """An episode of environment `index` begins: zeros before its first frames."""
        for name, frame in frames:
            stack = self.arrays[name][index]
            stack[:-1] = 0
            stack[-1] = frame

    def push(self, index: int, frames: Iterable[tuple[str, AnyArray]]) -> None:
        """The next frames of environment `index`."""
        for name, frame in frames:
            stack = self.arrays[name][index]
            stack[:-1] = stack[1:]
            stack[-1] = frame

    def not_finite(self) -> AnyArray | None:
        """The newest frames [E, *F] of a leaf that are not all finite, if there is one."""
        for name in self._floats:
            newest = self.arrays[name][:, -1]
            if not np.isfinite(newest).all():
                return newest
        return None
