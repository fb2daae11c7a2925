"""One update of the weights, and what they cost on held-out data. Knows nothing of workers' processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from lstm.cell import State
from lstm.config import TrainingConfig
from lstm.tasks.base import Batch, Cost, Task
from trainkit.errors import UserError
from trainkit.schedule import warm_up_and_cosine
from trainkit.tensor_files import load_optimizer_tensors, optimizer_tensors

Total = Callable[[float | Tensor], Tensor]  # a sum over all workers


def one_worker(value: float | Tensor) -> Tensor:
    """The sum over one worker."""
    return torch.as_tensor(value, dtype=torch.float64)


def multiplies_bf16(device: torch.device) -> bool:
    """Whether torch has an LSTM in bfloat16 there: on CPUs that is oneDNN's, which needs AVX-512."""
    try:
        with torch.autocast(device.type, torch.bfloat16):
            nn.LSTM(8, 8, device=device)(torch.zeros(2, 1, 8, device=device))
    except RuntimeError:
        return False
    return True


class Learner:
    """Adam on the mean cost of a batch that all workers share; gradients go back to the batch's beginning."""

    def __init__(
        self, network: nn.Module, wrapped: nn.Module, task: Cost, training: TrainingConfig, workers: int, total: Total
    ) -> None:
        device = next(network.parameters()).device
        if training.bf16 and not multiplies_bf16(device):
            raise UserError(f"training.bf16 = true: no LSTM in bfloat16 on this {device.type}; expected false")
        self.network, self._wrapped, self._task, self._training = network, wrapped, task, training
        self._workers, self._total = workers, total
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
        )
        self.rate = training.learning_rate
        self.step = 0
        self.at: int | None = None  # where the learning rate's schedule is, when that is not `step`
        self.best, self.best_cost, self.since_best = self.weights(), float("inf"), 0

    def update(self, batch: Batch, state: State | None = None) -> tuple[float, float, State]:
        """One update on this worker's share: (mean cost of the whole batch, gradient's norm, state to carry on)."""
        t = self._training
        for group in self.optimizer.param_groups:
            share = warm_up_and_cosine(
                self.step if self.at is None else self.at, t.steps, t.warmup_steps, t.final_learning_rate
            )
            group["lr"] = self.rate * share
        counted = float(self._total(batch.counted.sum()))
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(batch.inputs.device.type, torch.bfloat16, enabled=t.bf16):
            outputs, after = self._wrapped(*batch.given(state))
        cost = self._task.cost(outputs, batch).sum()
        # DDP averages the workers' gradients: times their number, it is the gradient of the joined batch's mean.
        (cost * (self._workers / counted)).backward()  # type: ignore[no-untyped-call]
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), t.grad_clip))
        self.optimizer.step()
        self.step += 1
        return float(self._total(cost.detach()) / counted), norm, tuple(part.detach() for part in after)

    def weights(self) -> dict[str, Tensor]:
        """A copy of them."""
        return {name: p.detach().clone() for name, p in self.network.state_dict().items()}

    def judge(self, cost: float) -> bool:
        """Keep the weights when `cost` on held-out data is the lowest so far; whether training is to go on."""
        if cost < self.best_cost:
            self.best, self.best_cost, self.since_best = self.weights(), cost, 0
        else:
            self.since_best += 1
        return self._training.patience is None or self.since_best < self._training.patience

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs beside the weights."""
        return {
            "optimizer": optimizer_tensors(self.optimizer),
            "step": self.step,
            "best_cost": self.best_cost if math.isfinite(self.best_cost) else None,
            "since_best": self.since_best,
        }

    def load(self, weights: dict[str, Tensor], best: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.network.load_state_dict(weights)
        self.best = {name: p.clone() for name, p in best.items()}
        load_optimizer_tensors(self.optimizer, state["optimizer"])
        self.step, self.since_best = int(state["step"]), int(state["since_best"])
        self.best_cost = float("inf") if state["best_cost"] is None else float(state["best_cost"])


@torch.no_grad()
def held_out_cost(task: Task, network: nn.Module, batches: Iterable[Batch], total: Total) -> float:
    """Mean over all workers' counted steps."""
    network.eval()
    cost, counted = 0.0, 0
    state: State | None = None
    for batch in batches:
        outputs, after = network(*batch.given(state))
        state = after if task.carried else None
        cost += float(task.cost(outputs, batch).double().sum())
        counted += int(batch.counted.sum())
    network.train()
    return float(total(cost) / total(counted))
