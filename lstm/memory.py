"""`apex-lstm memory`: gradients against lag before training, and the adding problem in training."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lstm import plots
from lstm.config import AddingConfig, ModelConfig, TrainingConfig
from lstm.learning import Learner, held_out_cost, one_worker
from lstm.network import Network, build
from lstm.recurrent import Recurrent
from lstm.tasks.memory_tests import ADDING_BASELINE, Adding
from trainkit.words import Say

REPORT_EVERY = 50  # updates
# The LSTM's brought its error down soonest in trials over 100 steps; at that rate the plain network's error grows.
LEARNING_RATES, GRAD_CLIP = {"LSTM": 2e-2, "plain": 1e-3}, 0.1


@dataclass(frozen=True)
class Learned:
    """A network's way through the adding problem."""

    network: Network
    curve: list[tuple[int, float]]  # (updates, mean squared error of held-out rows)
    seconds: float


def beginnings(hidden: int, steps: int) -> dict[str, tuple[ModelConfig, float]]:
    """Networks to compare: settings, and what the recurrent weights are multiplied with."""
    common = {"hidden": hidden, "implementation": "fused"}
    return {
        "plain": (ModelConfig(cell="rnn", **common), 1.0),
        "plain, recurrent weights x 3": (ModelConfig(cell="rnn", **common), 3.0),
        "LSTM, forget bias 1": (ModelConfig(**common), 1.0),
        f"LSTM, memories of up to {steps:,} steps": (ModelConfig(chrono_steps=steps, **common), 1.0),
    }


def gradient_norms(config: ModelConfig, steps: int, scale: float = 1.0, seed: int = 0, rows: int = 8) -> Tensor:
    """How much the last output depends on the input `lag` steps before it, [steps], lag 0 first.

    The norm of the gradient of random projections of the outputs [rows, R] after `steps` steps of adding-problem-like
    inputs, with respect to the inputs of each step; of a network that has learned nothing yet. float64.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Recurrent(config, 2).double()
        with torch.no_grad():
            for name, p in network.named_parameters():
                if "weight_hh" in name:
                    p.mul_(scale)
        x = torch.rand(rows, steps, 2, dtype=torch.float64, requires_grad=True)
        outputs, _ = network(x)
        last = outputs[:, -1]
        (gradient,) = torch.autograd.grad((last * torch.randn_like(last)).sum(), x)
    norms: Tensor = gradient.norm(dim=(0, 2)).flip(0)
    return norms


def learns_adding(model: ModelConfig, adding: AddingConfig, training: TrainingConfig, seed: int, say: Say) -> Learned:
    """Train on the adding problem in this process, with held-out errors every 50 updates."""
    task = Adding(adding, training.batch, seed)
    network = build(model, task.shape, seed)
    assert isinstance(network, Network)
    learner = Learner(network, network, task, training, 1, one_worker)
    started, curve = time.monotonic(), list[tuple[int, float]]()
    while learner.step < training.steps:
        learner.update(task.batch(learner.step))
        if learner.step % REPORT_EVERY == 0 or learner.step == training.steps:
            error = held_out_cost(task, network, task.validation(), one_worker)
            curve.append((learner.step, error))
            say(f"{model.cell:>4}  update {learner.step:>6,} of {training.steps:,}  squared error {error:.4f}")
    return Learned(network.eval(), curve, time.monotonic() - started)


def lags(steps: int) -> list[int]:
    """Those that are told of."""
    return [lag for lag in (1, 10, 30, 100, 300, 1_000, 3_000) if lag < steps - 1] + [steps - 1]


def numbers(norms: Mapping[str, Tensor]) -> Iterator[str]:
    """Lines of a table: the gradient at some lags, relative to lag 0."""
    some_lags = lags(len(next(iter(norms.values()))))
    yield f"{'gradient at lag':<38}" + "".join(f"{lag:>10,}" for lag in some_lags)
    for name, some in norms.items():
        yield f"{name:<38}" + "".join(f"{float(some[lag] / some[0]):>10.1e}" for lag in some_lags)


def memory(
    steps: int, updates: int, hidden: int, batch: int, seed: int, show_gates: bool, out: Path, say: Say
) -> dict[str, object]:
    """Gradients against lag, then learning to add over `steps` steps; the figures, also in `out` with pictures."""
    norms = {
        name: gradient_norms(config, steps, scale, seed) for name, (config, scale) in beginnings(hidden, steps).items()
    }
    for text in numbers(norms):
        say(text)
    plots.save(plots.gradients({name: some.numpy() for name, some in norms.items()}), out / "gradients.png")
    adding = AddingConfig(steps=steps)
    training = {
        name: TrainingConfig(steps=updates, batch=batch, learning_rate=rate, grad_clip=GRAD_CLIP)
        for name, rate in LEARNING_RATES.items()
    }
    networks = {
        "LSTM": ModelConfig(hidden=hidden, chrono_steps=steps),
        "plain": ModelConfig(cell="rnn", hidden=hidden),
    }
    learned = {name: learns_adding(model, adding, training[name], seed, say) for name, model in networks.items()}
    title = f"Adding two marked numbers of {steps:,}"
    curves = {name: one.curve for name, one in learned.items()}
    plots.save(plots.learning(curves, ADDING_BASELINE, title), out / "learning.png")
    if show_gates:
        show(learned["LSTM"].network, Adding(adding, 1, seed), out / "gates.png")
    figures: dict[str, object] = {
        "steps": steps,
        "hidden": hidden,
        "gradient relative to lag 0": {
            name: {lag: float(some[lag] / some[0]) for lag in lags(steps)} for name, some in norms.items()
        },
        "squared error, always saying 1": ADDING_BASELINE,
        "squared error": {name: one.curve[-1][1] for name, one in learned.items()},
        "seconds": {name: round(one.seconds, 1) for name, one in learned.items()},
        "training": {name: one.model_dump() for name, one in training.items()},
        "curves": curves,
    }
    (out / "memory.json").write_text(json.dumps(figures, indent=1) + "\n")
    for name, one in learned.items():
        say(f"{name:<6} squared error {one.curve[-1][1]:.4f} after {updates:,} updates; guessing {ADDING_BASELINE:.3f}")
    say(f"numbers and pictures in {out}")
    return figures


def show(network: torch.nn.Module, task: Adding, path: Path) -> None:
    """The gates of a trained network over one row of the adding problem."""
    batch = next(task.validation())
    (shown,) = network.written().recurrent.gates(batch.inputs)  # type: ignore[operator]
    inputs = {"number": batch.inputs[0, :, 0].numpy(), "mark": batch.inputs[0, :, 1].numpy()}
    plots.save(plots.gates(shown, inputs), path)
