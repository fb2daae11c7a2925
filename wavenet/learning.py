"""One update of the weights, and how good they are on sound that was held out. Knows nothing of workers' processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from trainkit.schedule import warm_up_and_cosine
from trainkit.tensor_files import load_optimizer_tensors, optimizer_tensors
from wavenet.config import ModelConfig, TrainingConfig
from wavenet.crops import Crops
from wavenet.likelihood import logistics_bits, softmax_bits
from wavenet.model import WaveNet

Total = Callable[[float | Tensor], Tensor]  # a sum over all workers


def bits_of(config: ModelConfig, model: nn.Module, crops: Crops) -> Tensor:
    """Bits of every counted sample, one after the other."""
    speakers = crops.speakers if config.speakers else None
    expected = model(crops.samples, speakers, crops.frames, crops.context)
    targets = crops.samples[:, crops.context :]
    bits = softmax_bits(expected.float(), targets) if config.output == "softmax" else logistics_bits(expected, targets)
    return bits[crops.counted]


class Learner:
    """Adam on the mean bits of a batch that all workers share, and an average of the weights over time (EMA)."""

    def __init__(
        self, model: WaveNet, wrapped: nn.Module, training: TrainingConfig, workers: int, total: Total
    ) -> None:
        self.model, self._wrapped, self._training = model, wrapped, training
        self._workers, self._total = workers, total
        self.optimizer = torch.optim.Adam(model.parameters(), lr=training.learning_rate)
        self.average = {name: p.detach().clone() for name, p in model.state_dict().items()}
        self.step = 0

    def update(self, crops: Crops) -> tuple[float, float]:
        """One update on this worker's share of a batch: (mean bits of the whole batch, gradient's norm)."""
        t = self._training
        for group in self.optimizer.param_groups:
            share = warm_up_and_cosine(self.step, t.steps, t.warmup_steps, t.final_learning_rate)
            group["lr"] = t.learning_rate * share
        counted = self._total(crops.counted.sum())
        # DDP averages the workers' gradients: times their number, it is the gradient of the joined batch's mean.
        scale = self._workers / float(counted)
        self.optimizer.zero_grad(set_to_none=True)
        bits = 0.0
        parts = min(t.accumulate, t.batch // self._workers)  # as many on all workers, who may have a row more or less
        for part in range(parts):
            some = crops.rows(slice(part, None, parts))
            with self._summed(part == parts - 1):
                with torch.autocast(crops.samples.device.type, torch.bfloat16, enabled=t.bf16):
                    loss = bits_of(self.model.config, self._wrapped, some).sum()
                (loss * scale).backward()  # type: ignore[no-untyped-call]
            bits += float(loss.detach())
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), t.grad_clip))
        self.optimizer.step()
        self.step += 1
        decay = min(t.ema, self.step / (self.step + 10))  # short at first: the first weights are noise
        with torch.no_grad():
            for name, p in self.model.state_dict().items():
                self.average[name].lerp_(p, 1 - decay)
        return float(self._total(bits) / counted), norm

    def _summed(self, last: bool) -> AbstractContextManager[None]:
        """Workers' gradients are added up once an update, with the last part."""
        if last or not isinstance(self._wrapped, nn.parallel.DistributedDataParallel):
            return nullcontext()
        return self._wrapped.no_sync()

    def averaged(self) -> WaveNet:
        """A network with the averaged weights, which are the ones to use."""
        model = WaveNet(self.model.config).to(next(self.model.parameters()).device)
        model.load_state_dict(self.average)
        return model.eval()

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs beside the weights."""
        return {"optimizer": optimizer_tensors(self.optimizer), "step": self.step}

    def begin_with(self, weights: Mapping[str, Tensor]) -> None:
        """Take another network's weights, of the same sizes, as one's own and as their average."""
        self.model.load_state_dict(weights)
        self.average = {name: p.detach().clone() for name, p in self.model.state_dict().items()}

    def load(self, weights: dict[str, Tensor], average: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.begin_with(average)
        self.model.load_state_dict(weights)
        load_optimizer_tensors(self.optimizer, state["optimizer"])
        self.step = int(state["step"])


@torch.no_grad()
def held_out_bits(config: ModelConfig, model: nn.Module, batches: Iterable[Crops], total: Total) -> float:
    """Mean bits a sample over all workers' batches."""
    bits, counted = 0.0, 0
    for crops in batches:
        some = bits_of(config, model, crops)
        bits += float(some.double().sum())
        counted += len(some)
    return float(total(bits) / total(counted))
