"""One update at a time: batch in, |TD errors| out. Owns the online and target networks and the optimizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from apex_ray.config.schema import ApexConfig, LearnerConfig
from apex_ray.learner.loss import split_states, td_errors, weighted_loss
from apex_ray.networks.build import build_network, from_arrays, multiplies_bf16, to_arrays
from apex_ray.types import AnyArray, Batch, EnvSpec, Float64Array, Weights
from cluster.errors import UserError


def resolve_device(name: str) -> torch.device:
    """The device a name means; `auto` is CUDA where there is one. UserError for one that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"learner.device = {name!r} can't be used ({reason}); expected auto, cpu or cuda[:N]") from None
    return device


def build_optimizer(parameters: list[Tensor], config: LearnerConfig, device: torch.device) -> torch.optim.Optimizer:
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, config.learning_rate, eps=config.epsilon, fused=True)
    return torch.optim.RMSprop(
        parameters, config.learning_rate, alpha=config.rmsprop_decay, eps=config.epsilon, centered=True, foreach=True
    )


@dataclass
class UpdateStats:
    """Means over one batch."""

    loss: float
    td_error: float
    q_mean: float
    grad_norm: float


class Learner:
    def __init__(self, spec: EnvSpec, config: ApexConfig) -> None:
        self._config, self._stack = config.learner, spec.stack
        self._double_q = config.td.double_q
        self.device = resolve_device(config.learner.device)
        self.online = build_network(spec, config.network, seed=config.seed).to(self.device)
        self.target = build_network(spec, config.network).to(self.device).requires_grad_(False)
        self.target.load_state_dict(self.online.state_dict())
        self.optimizer = build_optimizer(list(self.online.parameters()), config.learner, self.device)
        self.updates = 0
        bf16 = config.learner.bf16
        self._bf16 = multiplies_bf16(self.device) if bf16 == "auto" else bf16
        self._errors = torch.compile(td_errors) if config.learner.compile else td_errors

    def update(self, batch: Batch) -> tuple[Float64Array, UpdateStats]:
        """One gradient step; returns |TD errors| float64 [B] (before the step) and statistics."""
        frames, steps, actions, returns, discounts, weights = self._to_device(
            batch.frames, batch.steps, batch.actions, batch.returns, batch.discounts, batch.weights
        )
        states, next_states = split_states(frames, steps.long(), self._stack)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
            errors, taken = self._errors(
                self.online, self.target, states, actions, returns, discounts, next_states, self._double_q
            )
        loss = weighted_loss(errors, weights, self._config.huber_delta)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        grad_norm = torch.nn.utils.clip_grad_norm_(
            self.online.parameters(), self._config.max_grad_norm or float("inf"), foreach=True
        )
        self.optimizer.step()
        self.updates += 1
        if self.updates % self._config.target_every_updates == 0:
            self.target.load_state_dict(self.online.state_dict())
        absolute = errors.detach().abs()
        # One transfer for everything that goes back to the CPU.
        summary = torch.stack([loss.detach(), absolute.mean(), taken.detach().mean(), grad_norm])
        values = torch.cat([summary, absolute]).double().cpu().numpy()
        if not np.isfinite(values).all():
            raise UserError(
                f"learning diverged at update {self.updates}: the loss is {values[0]}; lower learner.learning_rate "
                f"({self._config.learning_rate:g}) or set td.reward_clip"
            )
        return values[4:], UpdateStats(*(float(v) for v in values[:4]))

    def _to_device(self, *arrays: AnyArray) -> list[Tensor]:
        # Arrays out of shared memory are read-only; torch only warns about that, and nothing here writes to them.
        return [torch.as_tensor(a).to(self.device, non_blocking=True) for a in arrays]

    def weights(self) -> Weights:
        """The online network's parameters; their version is the number of updates."""
        return Weights(self.updates, to_arrays(self.online))

    def state(self) -> tuple[dict[str, AnyArray], dict[str, AnyArray], dict[str, Any]]:
        """(online parameters, target parameters, optimizer state): with `updates`, all that learning depends on."""
        return to_arrays(self.online), to_arrays(self.target), self.optimizer.state_dict()

    def load_state(
        self, online: dict[str, AnyArray], target: dict[str, AnyArray], optimizer: dict[str, Any], updates: int
    ) -> None:
        """Go on from `state`. Raises RuntimeError or ValueError where it does not fit this network."""
        from_arrays(self.online, online)
        from_arrays(self.target, target)
        self.optimizer.load_state_dict(optimizer)
        self.updates = updates
