"""The network of an agent with a memory: torso, last action and reward -> memory -> head, of steps and sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from apex_ray.types import LAST_ACTION, LAST_REWARD, EnvSpec


class MemoryNetwork(nn.Module):
    """Gives the head's [.., A, K] for each step."""

    def __init__(self, spec: EnvSpec, torso: nn.Module, memory: Any, head: Callable[[Any], nn.Module]) -> None:
        """`memory`: agent/recurrent.py says what it has; `head`: makes one for so many features."""
        super().__init__()
        self._names, self._num_actions = list(spec.seen), spec.num_actions
        self.torso = torso
        features: Any = torso.num_features
        width = memory.embedding or features
        self.embedding = nn.Sequential(nn.Linear(features, width), nn.ReLU()) if memory.embedding else nn.Identity()
        self.memory = memory.module(width + spec.num_actions + 1)
        self.head = head(self.memory.num_features)

    def step(self, observations: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Observations, leaves [E, S, *F], in a state -> [E, A, K], and the memory's state after them."""
        x = self._inputs(observations, state[LAST_ACTION], state[LAST_REWARD])
        outputs, after = self.memory.step(x.float(), state)
        return self.head(outputs.to(x.dtype)), after

    def forward(self, seen: Mapping[str, Tensor], state: Mapping[str, Tensor], first: Tensor, burn_in: int) -> Tensor:
        """Sequences of P steps: `seen` has leaves [B, P, S, *F], LAST_ACTION [B, P, 1] and LAST_REWARD [B, P]; `state`
        [B, ...] is that before the first; first bool [B, P], the steps that begin an episode.

        What the head gives after `burn_in` steps, [B, P - burn_in, A, K]. Gradients end at the burn-in.
        """
        size, length = first.shape
        with torch.no_grad():
            before = self._of_steps({name: part[:, :burn_in] for name, part in seen.items()}) if burn_in else None
        after = self._of_steps({name: part[:, burn_in:] for name, part in seen.items()})
        x = after if before is None else torch.cat([before, after], dim=1)
        with torch.autocast(x.device.type, enabled=False):  # over many steps small errors add up
            outputs = self.memory(x.float(), state, first, burn_in)
        return self.head(outputs.flatten(0, 1).to(x.dtype)).unflatten(0, (size, length - burn_in))  # type: ignore[no-any-return]

    def _of_steps(self, seen: Mapping[str, Tensor]) -> Tensor:
        flat = {name: part.flatten(0, 1) for name, part in seen.items()}
        shape = seen[LAST_REWARD].shape
        return self._inputs(flat, flat[LAST_ACTION], flat[LAST_REWARD]).view(*shape, -1)

    def _inputs(self, observations: Mapping[str, Tensor], action: Tensor, reward: Tensor) -> Tensor:
        """[B, width + A + 1]: the torso's features, the last action as one-hot, zeros for none, and its reward."""
        leaves: Any = {name: observations[name] for name in self._names}
        features = self.embedding(self.torso(leaves if len(leaves) > 1 else leaves[self._names[0]]))
        hot = functional.one_hot(action[:, 0].long() + 1, self._num_actions + 1)[:, 1:]
        return torch.cat([features, hot.to(features.dtype), reward[:, None].to(features.dtype)], dim=1)
