"""One update at a time: batch in, |TD errors| out. Owns the online and target networks and the optimizer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from apex_ray.config.schema import ApexConfig, LearnerConfig
from apex_ray.learner.frame_mirror import FrameMirror
from apex_ray.learner.hardware import page_lock, resolve_compile, resolve_device
from apex_ray.learner.loss import split_states, td_errors, weighted_loss
from apex_ray.learner.rmsprop import CentredRMSProp
from apex_ray.networks.build import build_network, from_arrays, multiplies_bf16, to_arrays
from apex_ray.types import AnyArray, Batch, EnvSpec, Float64Array, IntArray, Weights
from trainkit.tensor_files import NotFiniteError, load_optimizer_tensors, optimizer_tensors


def build_optimizer(parameters: list[Tensor], config: LearnerConfig, device: torch.device) -> torch.optim.Optimizer:
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, config.learning_rate, eps=config.epsilon, fused=True)
    return CentredRMSProp(parameters, config.learning_rate, config.rmsprop_decay, config.epsilon)


@dataclass
class UpdateStats:
    """Means over one batch."""

    loss: float
    td_error: float
    q_mean: float
    grad_norm: float


class Learner:
    def __init__(self, spec: EnvSpec, config: ApexConfig) -> None:
        self._settings, self._config, self._spec, self._stack = config, config.learner, spec, spec.stack
        self._double_q = config.td.double_q
        self.device = resolve_device(config.learner.device)
        self.online = build_network(spec, config.network, seed=config.seed).to(self.device)
        self.target = build_network(spec, config.network).to(self.device).requires_grad_(False)
        self.target.load_state_dict(self.online.state_dict())
        self.optimizer = build_optimizer(list(self.online.parameters()), config.learner, self.device)
        self.updates = 0
        self._results = torch.empty(0)  # of the update under way
        self._diverged = ""  # why, once learning has
        cuda = self.device.type == "cuda"
        self._copies = torch.cuda.Stream(self.device) if cuda else None  # type: ignore[no-untyped-call]
        self._graphs = config.learner.cuda_graphs and cuda
        bf16 = config.learner.bf16
        self._bf16 = multiplies_bf16(self.device) if bf16 == "auto" else bf16
        self._errors = td_errors
        if resolve_compile(config.learner.compile, self.device):
            self._errors = torch.compile(td_errors, mode="reduce-overhead" if self._graphs else None)
        self._mirror: FrameMirror | None = None

    def update(self, batch: Batch) -> tuple[Float64Array, UpdateStats]:
        """One gradient step; returns |TD errors| float64 [B] (before the step) and statistics."""
        self.start_update(self.stage(batch))
        return self.finish_update()

    def stage(self, batch: Batch) -> list[Tensor]:
        """A batch on its way to the device. From pinned memory and on a stream of its own, beside a running update."""
        arrays = (batch.steps, batch.actions, batch.returns, batch.discounts, batch.weights)
        with torch.cuda.stream(self._copies):  # nothing where there is no such stream
            frames = self._mirror.gather(batch.slots, batch.ages) if self._mirror else self._to_device(batch.frames)
            return [frames, *(self._to_device(a) for a in arrays)]

    def _to_device(self, array: AnyArray) -> Tensor:
        # Arrays out of shared memory are read-only; torch only warns about that, and nothing here writes to them.
        tensor = torch.as_tensor(array)
        return tensor if self._copies is None else tensor.pin_memory().to(self.device, non_blocking=True)

    def prepare_memory(self, memory: AnyArray) -> None:
        """Let the device read this array, which lives as long as the process, without a copy in between."""
        if self._copies is not None:
            page_lock(memory)

    def mirror_replay(self) -> None:
        """Make room for all of replay's frames on the device; batches then come without. UserError for too little."""
        config = self._settings
        horizon = config.actors.chunk_transitions
        segments = max(config.replay.capacity_transitions // config.replay.shards // horizon, 1)
        self._mirror = FrameMirror(self._spec, config.replay.shards, segments, horizon, config.td.n_step, self.device)

    def write_frames(self, shard: int, segments: IntArray, frames: AnyArray) -> None:
        """What replay stored in `segments` [G] of a shard: frames [G, T + S - 1 + n, *F]."""
        assert self._mirror is not None, "mirror_replay() comes first"
        with torch.cuda.stream(self._copies):
            self._mirror.write(shard, segments, frames)

    def start_update(self, staged: list[Tensor]) -> None:
        """Launch one gradient step on what `stage` gave. A GPU works on while the caller does something else."""
        if self._copies is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_stream(self._copies)
            for tensor in staged:
                tensor.record_stream(current)  # its memory is not to be reused before this stream is done with it
        frames, steps, actions, returns, discounts, weights = staged
        states, next_states = split_states(frames, steps.long(), self._stack)
        if self._graphs:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
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
        self._results = torch.cat([summary, absolute])

    def finish_update(self) -> tuple[Float64Array, UpdateStats]:
        """Wait for the step: |TD errors| float64 [B] from before it, and statistics. NotFiniteError: it diverged."""
        values = self._results.double().cpu().numpy()
        if not np.isfinite(values).all():
            self._diverged = f"the loss is {values[0]}, the gradient's norm {values[3]}"
            raise self._divergence()
        return values[4:], UpdateStats(*(float(v) for v in values[:4]))

    def _divergence(self) -> NotFiniteError:
        return NotFiniteError(
            f"learning diverged at update {self.updates}: {self._diverged}; lower learner.learning_rate "
            f"({self._config.learning_rate:g}) or set td.reward_clip"
        )

    def weights(self) -> Weights:
        """The online network's parameters, finite or NotFiniteError; their version is the number of updates."""
        params = to_arrays(self.online)
        self._refuse_not_finite(params)
        return Weights(self.updates, params)

    def state(self) -> tuple[dict[str, AnyArray], dict[str, AnyArray], dict[str, AnyArray]]:
        """(online parameters, target parameters, optimizer state): with `updates`, all that learning depends on.

        NotFiniteError once learning has diverged: finite or not, what led there is no use to go on from.
        """
        optimizer = {name: t.cpu().contiguous().numpy().copy() for name, t in optimizer_tensors(self.optimizer).items()}
        state = to_arrays(self.online), to_arrays(self.target), optimizer
        for arrays in state:
            self._refuse_not_finite(arrays)
        return state

    def _refuse_not_finite(self, arrays: dict[str, AnyArray]) -> None:
        if not self._diverged:
            bad = [name for name, array in arrays.items() if not np.isfinite(array).all()]
            self._diverged = f"{bad[0]} is not finite" if bad else ""
        if self._diverged:
            raise self._divergence()

    def load_state(
        self, online: dict[str, AnyArray], target: dict[str, AnyArray], optimizer: dict[str, AnyArray], updates: int
    ) -> None:
        """Go on from `state`, with this learner's own settings of the optimizer.

        Raises RuntimeError or ValueError where it does not fit this network.
        """
        from_arrays(self.online, online)
        from_arrays(self.target, target)
        load_optimizer_tensors(self.optimizer, {name: torch.from_numpy(a) for name, a in optimizer.items()})
        self.updates = updates
