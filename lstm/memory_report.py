"""`apex-lstm memory`: the numbers, the pictures, and the gates of the network that learned."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch

from lstm import plots
from lstm.config import AddingConfig, ModelConfig, TrainingConfig
from lstm.memory import beginnings, gradient_norms, lags, learns_adding, numbers
from lstm.tasks.memory_tests import ADDING_BASELINE, Adding

# The LSTM's brought its error down soonest in trials over 100 steps; at that rate the plain network's error grows.
LEARNING_RATES, GRAD_CLIP = {"LSTM": 2e-2, "plain": 1e-3}, 0.1


def memory(
    steps: int,
    updates: int,
    hidden: int,
    batch: int,
    seed: int,
    show_gates: bool,
    out: Path,
    log: Callable[[str], None],
) -> dict[str, object]:
    """Gradients against lag, then learning to add over `steps` steps; the figures, also in `out` with pictures."""
    norms = {
        name: gradient_norms(config, steps, scale, seed) for name, (config, scale) in beginnings(hidden, steps).items()
    }
    for text in numbers(norms):
        log(text)
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
    learned = {name: learns_adding(model, adding, training[name], seed, log) for name, model in networks.items()}
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
        log(f"{name:<6} squared error {one.curve[-1][1]:.4f} after {updates:,} updates; guessing {ADDING_BASELINE:.3f}")
    log(f"numbers and pictures in {out}")
    return figures


def show(network: torch.nn.Module, task: Adding, path: Path) -> None:
    """The gates of a trained network over one row of the adding problem."""
    batch = next(task.validation())
    (shown,) = network.written().recurrent.gates(batch.inputs)  # type: ignore[operator]
    inputs = {"number": batch.inputs[0, :, 0].numpy(), "mark": batch.inputs[0, :, 1].numpy()}
    plots.save(plots.gates(shown, inputs), path)
