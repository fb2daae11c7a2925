"""Q-learning with a memory: networks that see an episode's past, sequences as samples: R2D2 (Kapturowski et al. 2019).

A sequence is a sample of the same replay: it begins at every `sequences.period_steps`-th step of a stream, and its
fields reach over

    burn_in_steps | length_steps, which are learned from | n_step, for their bootstrap values

Sequences go on over the ends of episodes, where the memory begins anew, in the actor as in the learner. What a memory
is called with is said in agent/registry.py; it has

    stored: bool                       whether sequences begin with the actor's own state; else with none
    state: {name: shape}               of one environment, float32
    embedding: int                     width that the torso's features are brought to first, 0: none
    module(inputs) -> nn.Module        with num_features, step(x, state) and forward(x, state, first, burn_in)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from apex_ray.agent.contract import Loss, State, reset_states
from apex_ray.agent.q_learning import QLearning, Transitions, masked
from apex_ray.agent.registry import MEMORIES, MEMORY, made
from apex_ray.config.schema import ApexConfig
from apex_ray.fields import AGES, Field
from apex_ray.td import RESET, clip_rewards
from apex_ray.types import (
    LAST_ACTION,
    LAST_REWARD,
    MASK,
    AnyArray,
    BoolArray,
    EnvSpec,
    Float64Array,
    FloatArray,
    IntArray,
)
from trainkit.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

STORED = "before."  # and the name of a part of the state: the field that has it as it was before the step


class Recurrent(QLearning):
    """Any objective, on every learned step of a sequence."""

    def __init__(self, spec: EnvSpec, config: ApexConfig) -> None:
        super().__init__(spec, config)
        if len(spec.branches) > 1:
            raise UserError(
                f"network.memory = {config.network.memory!r}: expected none where actions have {len(spec.branches)} "
                "parts that are learned one by one; or raise env.max_joint_actions"
            )
        if config.network.memory == "none":
            raise UserError("agent = 'recurrent': network.memory is none; expected one of " + ", ".join(MEMORIES))
        self._memory = made(MEMORY, config.network.memory, config.network.memory_kwargs)
        s, n = config.sequences, config.td.n_step
        self._burn_in, self._eta = s.burn_in_steps, s.eta
        self.stride, self.learned = s.period_steps, s.length_steps
        self._steps = s.burn_in_steps + s.length_steps + n  # P, of a sequence
        learned = {name: Field(self.fields[name].dtype, after=self._burn_in + self.learned - 1) for name in _OF_N}
        self._state = {name: Field("float32", shape) for name, shape in self._memory.state.items()}
        self._state |= {LAST_ACTION: Field("int32", (len(spec.branches),)), LAST_REWARD: Field("float32")}
        kept = {name: f for name, f in self._state.items() if self._memory.stored or name in (LAST_ACTION, LAST_REWARD)}
        stored = {f"{STORED}{name}": field for name, field in kept.items()}
        self.fields = {
            **{
                name: Field(leaf.dtype, leaf.shape, before=leaf.stack - 1, after=self._steps - 1)
                for name, leaf in spec.observation.items()
            },
            **{
                name: Field(dtype, shape, after=self._steps - 2)
                for name, dtype, shape in (
                    ("actions", "int32", spec.action_shape),
                    ("rewards", "float32", ()),
                    ("kinds", "uint8", ()),
                )
            },
            **learned,
            **stored,
        }
        self.outputs = self.outputs | stored

    def network(self) -> nn.Module:
        from apex_ray.agent.memory_network import MemoryNetwork
        from apex_ray.agent.q_network import build_torso

        torso = build_torso(self._spec, self._config.network)
        return MemoryNetwork(self._spec, torso, self._memory, self._head)

    def initial_state(self, num_envs: int) -> State:
        state = {name: np.zeros((num_envs, *field.shape), field.dtype) for name, field in self._state.items()}
        state[LAST_ACTION] -= 1
        return state

    def next_state(self, state: State, actions: IntArray, rewards: FloatArray, first: BoolArray) -> State:
        """Rewards as the learner sees them, clipped."""
        last = {
            LAST_ACTION: actions.reshape(len(first), -1).astype(np.int32),
            LAST_REWARD: clip_rewards(rewards, self._config.td.reward_clip),
        }
        return reset_states({**state, **last}, first, self.initial_state(len(first)))

    def infer(
        self, network: nn.Module, observations: Mapping[str, Tensor], state: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        outputs, after = network.step(observations, state)  # type: ignore[operator]
        legal = observations[MASK][:, -1] if self._spec.masked else None
        before = {name: state[name.removeprefix(STORED)] for name in self.outputs if name.startswith(STORED)}
        return {"q_values": masked(self._objective.q_values(outputs), legal), **before}, {**state, **after}

    def priorities(self, window: Mapping[str, AnyArray]) -> Float64Array:
        """Of each sequence, eta max |TD error| + (1 - eta) mean |TD error| over the steps that are learned from."""
        errors = super().priorities(window)
        starts = np.arange(0, errors.shape[1] - self._burn_in - self.learned + 1, self.stride) + self._burn_in
        inside = starts[:, None] + np.arange(self.learned)
        found: Float64Array = mixed(np, errors[:, inside], window["valid"][:, inside], self._eta)
        return found

    def loss(self, online: nn.Module, target: nn.Module, batch: Mapping[str, Tensor]) -> Loss:
        """The objective's losses of the learned steps, averaged over those that are transitions."""
        import torch

        size, count = len(batch["actions"]), self.learned
        inputs = self._sequences(batch)
        with torch.no_grad():
            later = target(*inputs, self._burn_in)
        outputs = {online: online(*inputs, self._burn_in), target: later}  # [B, L + n, A, K]

        def values(network: nn.Module) -> Any:
            return lambda states: outputs[network].flatten(0, 1)[states["at"]]

        learned = slice(self._burn_in, self._burn_in + count)
        steps = torch.arange(count, device=later.device)
        rows = torch.arange(size, device=later.device)[:, None]
        at = rows * later.shape[1] + steps
        ahead = batch["steps"][:, learned].long()
        masks = batch[MASK][:, self._burn_in :] if self._spec.masked else None
        transitions = Transitions(
            {"at": at.flatten()},
            batch["actions"][:, learned].long().flatten(0, 1),
            batch["returns"][:, learned].flatten(),
            batch["discounts"][:, learned].flatten(),
            {"at": (at + ahead).flatten()},
            None if masks is None else masks[rows, steps + ahead].flatten(0, 1),
            None if masks is None else masks[:, :count].flatten(0, 1),
        )
        losses, errors, metrics = self._objective.loss(values(online), values(target), transitions)
        valid = batch["kinds"][:, learned] != RESET
        mean = torch.where(valid, losses.view(size, count), 0.0).sum(dim=1) / valid.sum(dim=1).clamp(min=1)
        return Loss(mean, mixed(torch, errors.view(size, count), valid, self._eta), metrics)

    def _sequences(self, batch: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        """(observations [B, P, S, *F] with the last action [B, P, 1] and reward [B, P], the state before, and which
        steps begin an episode, [B, P]).
        """
        import torch

        reset = batch["kinds"] == RESET  # [B, P - 1]: the next step begins
        first = torch.cat([torch.zeros_like(reset[:, :1]), reset], dim=1)
        size = len(first)
        actions = batch["actions"].reshape(size, self._steps - 1, -1).masked_fill(reset[..., None], -1)
        seen = {
            LAST_ACTION: torch.cat([batch[f"{STORED}{LAST_ACTION}"][:, None], actions], dim=1),
            LAST_REWARD: torch.cat([batch[f"{STORED}{LAST_REWARD}"][:, None], batch["rewards"] * ~reset], dim=1),
        }
        for name, leaf in self._spec.seen.items():
            seen[name] = stacked(batch[name], leaf.stack, batch[AGES], first)
        names = self._memory.state if self._memory.stored else ()
        return seen, {name: batch[f"{STORED}{name}"] for name in names}, first


_OF_N = ("returns", "discounts", "steps")


def mixed(xp: Any, errors: Any, valid: Any, eta: float) -> Any:
    """The largest of |TD errors| [..., L] times eta and their mean times 1 - eta, of those that are `valid`; 0 where
    none is. `xp`: numpy or torch.
    """
    kept = xp.where(valid, errors, xp.zeros_like(errors))
    count = valid.sum(-1)
    return eta * xp.amax(kept, -1) + (1 - eta) * kept.sum(-1) / (count + (count == 0))


def stacked(frames: Tensor, stack: int, ages: Tensor, first: Tensor) -> Tensor:
    """Observations [B, P, S, *F] of every step of sequences: the S frames up to it, zeros before its episode's first.

    Args:
        frames: [B, S - 1 + P, *F], zeros already where the first step's episode had not begun.
        stack: S.
        ages: [B], how many steps before a sequence's first belong to its episode, at most S - 1.
        first: bool [B, P], which steps begin an episode.

    """
    import torch

    if stack == 1:
        return frames[:, :, None]
    length = first.shape[1]
    steps = torch.arange(length, device=frames.device)
    began = torch.where(first, steps, -ages.long()[:, None]).cummax(dim=1).values  # [B, P]
    back = torch.arange(stack - 1, -1, -1, device=frames.device)  # how many steps before its own a frame is
    before = (steps - began)[..., None] < back  # [B, P, S]
    windows = frames.unfold(1, stack, 1).movedim(-1, 2)
    return windows.masked_fill(before.view(*before.shape, *(1 for _ in frames.shape[2:])), 0)
