"""One update at a time: batch in, |TD errors| out. Owns the online and target networks and the optimizer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from apex_ray.agent.contract import Agent
from apex_ray.agent.heads import Drawing
from apex_ray.agent.network import from_arrays, multiplies_bf16, new_network, to_arrays
from apex_ray.config.schema import ApexConfig, LearnerConfig
from apex_ray.fields import AGES
from apex_ray.learner.hardware import page_lock, resolve_compile, resolve_device
from apex_ray.learner.mirror import Mirror
from apex_ray.learner.rmsprop import CentredRMSProp
from apex_ray.learner.team import Team
from apex_ray.replay.records import Fresh
from apex_ray.replay.room import segments_of
from apex_ray.types import AnyArray, Batch, Float64Array, Weights
from trainkit.schedule import piecewise_linear
from trainkit.tensor_files import NotFiniteError, load_optimizer_tensors, optimizer_tensors

WEIGHTS, RAREST = "weights", "rarest"  # of a batch, beside its fields: as `Batch` has them


def build_optimizer(parameters: list[Tensor], config: LearnerConfig, device: torch.device) -> torch.optim.Optimizer:
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, config.learning_rate, eps=config.epsilon, fused=True)
    return CentredRMSProp(parameters, config.learning_rate, config.rmsprop_decay, config.epsilon)


class Learner:
    def __init__(self, agent: Agent, config: ApexConfig) -> None:
        self.agent, self._settings, self._config = agent, config, config.learner
        self.device = resolve_device(config.learner.device)
        self.online = new_network(agent, seed=config.seed).to(self.device)
        self.target = new_network(agent).to(self.device).requires_grad_(False)
        self.target.load_state_dict(self.online.state_dict())
        self.optimizer = build_optimizer(list(self.online.parameters()), config.learner, self.device)
        self.updates = 0
        self._results = torch.empty(0)  # of the update under way
        self._names: tuple[str, ...] = ()  # of its metrics
        self._diverged = ""  # why, once learning has
        cuda = self.device.type == "cuda"
        self._copies = torch.cuda.Stream(self.device) if cuda else None  # type: ignore[no-untyped-call]
        self._graphs = config.learner.cuda_graphs and cuda
        bf16 = config.learner.bf16
        self._bf16 = multiplies_bf16(self.device) if bf16 == "auto" else bf16
        self._loss = agent.loss
        if resolve_compile(config.learner.compile, self.device):
            self._loss = torch.compile(agent.loss, mode="reduce-overhead" if self._graphs else None)
        self._draws = any(isinstance(module, Drawing) for module in self.online.modules())
        self._mirror: Mirror | None = None
        self.team: Team | None = None  # with the learner's other workers; batches are then this worker's part of one

    def update(self, batch: Batch) -> tuple[Float64Array, dict[str, float]]:
        """One gradient step; returns |TD errors| float64 [B] (before the step) and metrics."""
        self.start_update(self.to_device(batch))
        return self.finish_update()

    def to_device(self, batch: Batch) -> dict[str, Tensor]:
        """A batch on its way to the device. From pinned memory and on a stream of its own, beside a running update."""
        with torch.cuda.stream(self._copies):  # nothing where there is no such stream
            tensors = {name: self._transferred(array) for name, array in batch.fields.items()}
            if self._mirror is not None:
                tensors |= self._mirror.gather(batch.slots, batch.fields[AGES])
            if self.team is not None:
                tensors[RAREST] = self._transferred(np.array(batch.rarest))
            return {**tensors, WEIGHTS: self._transferred(batch.weights)}

    def _transferred(self, array: AnyArray) -> Tensor:
        # Arrays out of shared memory are read-only; torch only warns about that, and nothing here writes to them.
        tensor = torch.as_tensor(array)
        return tensor if self._copies is None else tensor.pin_memory().to(self.device, non_blocking=True)

    def prepare_memory(self, memory: AnyArray) -> None:
        """Let the device read this array, which lives as long as the process, without a copy in between."""
        if self._copies is not None:
            page_lock(memory)

    def mirror_replay(self) -> None:
        """Make room for all of replay's windowed fields on the device; batches then come without. UserError for too
        little.
        """
        config, r = self._settings, self._settings.replay
        horizon = config.actors.chunk_transitions
        segments = segments_of(r.capacity_transitions // r.shards, horizon)
        self._mirror = Mirror(self.agent.fields, r.shards, segments, horizon, self.device, self.agent.stride)

    def write_mirror(self, shard: int, fresh: Fresh) -> None:
        """What a shard has stored since the last time."""
        assert self._mirror is not None, "mirror_replay() comes first"
        with torch.cuda.stream(self._copies):
            self._mirror.write(shard, fresh)

    def start_update(self, batch: dict[str, Tensor]) -> None:
        """Launch one gradient step on what `to_device` gave. A GPU works on while the caller does something else.

        LostWorkerError, of a team: the step can be begun again when there is a new one.
        """
        if self._copies is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_stream(self._copies)
            for tensor in batch.values():
                tensor.record_stream(current)  # its memory is not to be reused before this stream is done with it
        if self._draws:  # what is drawn depends on the update's number alone: a resumed run draws the same
            torch.manual_seed(self._settings.seed + self.updates)
        if self._graphs:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        rarest_of_all = self.team.least(batch[RAREST]) if self.team is not None else None  # on its way during the loss
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
            losses, priorities, metrics = self._loss(self.online, self.target, batch)
        weights = batch[WEIGHTS]
        if rarest_of_all is not None:
            weights = weights * (rarest_of_all() / batch[RAREST])
        loss = (weights**self.beta * losses).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        figures = {"loss": loss.detach(), "td_error": priorities.mean(), **metrics}
        means = torch.stack(tuple(figures.values()))
        if self.team is not None:
            self.team.mean([*(p.grad for p in self.online.parameters() if p.grad is not None), means])
        grad_norm = torch.nn.utils.clip_grad_norm_(
            self.online.parameters(), self._config.max_grad_norm or float("inf"), foreach=True
        )
        if self._config.learning_rate_schedule:
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate
        self.optimizer.step()
        self.updates += 1
        if self.updates % self._config.target_every_updates == 0:
            self.target.load_state_dict(self.online.state_dict())
        if self._config.reset_every_updates and self.updates % self._config.reset_every_updates == 0:
            self._reset()
        self._names = *figures, "grad_norm"
        # One transfer for everything that goes back to the CPU.
        self._results = torch.cat([means, grad_norm[None], priorities])

    def _reset(self) -> None:
        """Begin anew with the heads, and the optimizer; bring the rest a part of the way to new parameters (Nikishin et
        al. 2022; D'Oro et al. 2023). What replay holds is learned again, by a network that can still learn.
        """
        fresh = dict(new_network(self.agent, seed=self._settings.seed + self.updates).named_parameters())
        with torch.no_grad():
            for name, parameter in self.online.named_parameters():
                share = 1.0 if name.startswith("head.") else self._config.reset_share
                parameter.lerp_(fresh[name].to(self.device), share)
        self.target.load_state_dict(self.online.state_dict())
        self.optimizer = build_optimizer(list(self.online.parameters()), self._config, self.device)

    @property
    def beta(self) -> float:
        """Of the next update's importance weights."""
        points = self._settings.replay.beta_schedule
        return piecewise_linear(self.updates, points) if points else self._settings.replay.beta

    @property
    def learning_rate(self) -> float:
        """Of the next update."""
        points = self._config.learning_rate_schedule
        return piecewise_linear(self.updates, points) if points else self._config.learning_rate

    def finish_update(self) -> tuple[Float64Array, dict[str, float]]:
        """Wait for the step: |TD errors| float64 [B] from before it, and metrics. NotFiniteError: it diverged."""
        values = self._results.double().cpu().numpy()
        count = len(self._names)
        metrics = {name: float(value) for name, value in zip(self._names, values[:count], strict=True)}
        if not np.isfinite(values).all():
            self._diverged = f"the loss is {metrics['loss']}, the gradient's norm {metrics['grad_norm']}"
            raise self._divergence()
        return values[count:], metrics

    def _divergence(self) -> NotFiniteError:
        return NotFiniteError(
            f"learning diverged at update {self.updates}: {self._diverged}; lower learner.learning_rate "
            f"({self.learning_rate:g}) or set td.reward_clip"
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

    def warm_start(self, params: Mapping[str, AnyArray]) -> None:
        """Begin with these in place of the online and target network's own, with a new optimizer and no updates."""
        from_arrays(self.online, {**to_arrays(self.online), **params})
        self.target.load_state_dict(self.online.state_dict())

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
