"""Looking for a learning rate (Smith 2017, section 3.3): updates at rates that grow, and what they do to the loss."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from torch import nn

from lstm import plots
from lstm.cell import State
from lstm.config import LstmConfig, TrainingConfig
from lstm.learning import Learner, one_worker
from lstm.network import build
from lstm.tasks.base import Task
from lstm.tasks.make import make_task
from trainkit.words import Say

LOWEST, HIGHEST = 1e-6, 1.0
SMOOTHING = 0.9


def find_rate(config: LstmConfig, updates: int, out: Path, say: Say) -> float:
    """Tell a learning rate and draw the losses; a tenth of the rate at which the loss was lowest."""
    task = make_task(config)
    network = build(config.model, task.shape, config.seed)
    rates, losses = rates_and_losses(task, network, config.training, updates)
    found = rates[int(np.argmin(losses))] / 10
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses)
    axes.axvline(found, linestyle="--", color="gray", label=f"training.learning_rate={found:.1e}")
    axes.set(xscale="log", xlabel="learning rate", ylabel=f"{task.unit}, smoothed")
    axes.legend()
    plots.save(figure, out)
    say(f"training.learning_rate={found:.1e} (a tenth of where the loss was lowest; picture in {out})")
    return found


def rates_and_losses(
    task: Task, network: nn.Module, training: TrainingConfig, updates: int
) -> tuple[list[float], list[float]]:
    """Rates from 1e-6 to 1, in equal ratios, and the smoothed loss after each, until it is four times its lowest."""
    level = training.model_copy(update={"warmup_steps": 0, "final_learning_rate": 1.0, "steps": updates})
    learner = Learner(network, network, task, level, 1, one_worker)
    rates, losses, mean = list[float](), list[float](), 0.0
    state: State | None = None
    for step in range(updates):
        rate = LOWEST * (HIGHEST / LOWEST) ** (step / max(updates - 1, 1))
        learner.rate = rate
        loss, _, after = learner.update(task.batch(step), state)
        state = after if task.carried else None
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        smooth = mean / (1 - SMOOTHING ** (step + 1))  # without the pull of the beginning at 0
        if not math.isfinite(loss) or smooth > 4 * min(losses, default=math.inf):
            break
        rates.append(rate)
        losses.append(smooth)
    return rates, losses
